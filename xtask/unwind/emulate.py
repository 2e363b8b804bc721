"""Runs the functions of x64 DLLs under the emulator unicorn, and writes down what a stack walk has to find.

    emulate.py FOLDER-WITH-DLLS SAMPLES

Every function that .pdata or the exports name is called a few times with made-up arguments, for a bounded number of
instructions. What it calls outside of the DLLs returns at once. A shadow stack follows each call and return; at
each instruction that is executed for the first time the truth is written down:

    file      magic "UWSAMPL1", u32 DLLs, for each: u16 bytes, name, u64 base; then samples to the end
    sample    17 u64 registers (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 RIP), u32 frames, u32 bytes of stack
              for each frame: RIP RSP RBX RBP RSI RDI R12..R15 as they are behind the return, u64 each
              the stack from RSP on
"""

import bisect
import os
import random
import struct
import sys
import time

from unicorn import (
    UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_MEM_UNMAPPED, UC_MODE_64, UC_PROT_ALL, UC_PROT_EXEC, UC_PROT_READ, Uc, UcError)
from unicorn.x86_const import *

GPR = [UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP,
       UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8, UC_X86_REG_R9, UC_X86_REG_R10, UC_X86_REG_R11,
       UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15]
KEPT = [UC_X86_REG_RBX, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
        UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15]
FIRST_BASE, SPACING = 0x7ffa_0000_0000, 0x100_0000
STUBS, STUB_BYTES = 0x7ffb_0000_0000, 0x10_0000
HARNESS = 0x7ffc_0000_0000
START = HARNESS + 0x100
STACK, STACK_BYTES = 0x10_0000_0000, 0x20_0000
TOP = STACK + STACK_BYTES - 0x1000
HEAP, HEAP_BYTES = 0x20_0000_0000, 0x100_0000
TEB = 0x7fff_0000
INSTRUCTIONS = 1500
MOST_STACK = 0x4000
MOST_PAGES = 64


class Image:
    """A DLL: its bytes as they are mapped, exports, imports, functions."""

    def __init__(self, path, base):
        self.name, self.base = os.path.basename(path), base
        data = open(path, 'rb').read()
        pe = struct.unpack_from('<I', data, 0x3c)[0]
        sections, = struct.unpack_from('<H', data, pe + 6)
        optional_size, = struct.unpack_from('<H', data, pe + 20)
        optional = pe + 24
        self.preferred, = struct.unpack_from('<Q', data, optional + 24)
        self.size, = struct.unpack_from('<I', data, optional + 56)
        self.size = (self.size + 0xfff) & ~0xfff
        self.directories = [struct.unpack_from('<II', data, optional + 112 + 8 * i) for i in range(16)]
        image = bytearray(self.size)
        headers, = struct.unpack_from('<I', data, optional + 60)
        image[:headers] = data[:headers]
        self.code = []
        for i in range(sections):
            at = optional + optional_size + 40 * i
            size, rva, raw_size, raw = struct.unpack_from('<IIII', data, at + 8)
            flags, = struct.unpack_from('<I', data, at + 36)
            part = data[raw:raw + min(raw_size, max(size, raw_size))]
            image[rva:rva + len(part)] = part
            if flags & 0x2000_0000:
                self.code.append((rva, rva + size))
        self.image = image
        self.relocate()
        self.parts = self.read_parts()

    def u32(self, rva):
        return struct.unpack_from('<I', self.image, rva)[0]

    def text(self, rva):
        return bytes(self.image[rva:self.image.index(0, rva)]).decode('latin1')

    def relocate(self):
        rva, size = self.directories[5]
        end, delta = rva + size, self.base - self.preferred
        while rva < end and size:
            page, block = struct.unpack_from('<II', self.image, rva)
            for at in range(rva + 8, rva + block, 2):
                entry, = struct.unpack_from('<H', self.image, at)
                if entry >> 12 == 10:
                    place = page + (entry & 0xfff)
                    value, = struct.unpack_from('<Q', self.image, place)
                    struct.pack_into('<Q', self.image, place, (value + delta) & (1 << 64) - 1)
            rva += block

    def exports(self):
        rva, size = self.directories[0]
        found = {}
        if not size:
            return found
        count, names = struct.unpack_from('<II', self.image, rva + 20)
        functions, name_table, ordinals = struct.unpack_from('<III', self.image, rva + 28)
        for i in range(names):
            ordinal, = struct.unpack_from('<H', self.image, ordinals + 2 * i)
            target = self.u32(functions + 4 * ordinal)
            if not rva <= target < rva + size:
                found[self.text(self.u32(name_table + 4 * i))] = target
        return found

    def imports(self):
        rva, size = self.directories[1]
        while size and self.u32(rva + 12):
            library = self.text(self.u32(rva + 12)).lower()
            lookup, table = self.u32(rva) or self.u32(rva + 16), self.u32(rva + 16)
            i = 0
            while True:
                value, = struct.unpack_from('<Q', self.image, lookup + 8 * i)
                if not value:
                    break
                name = f'#{value & 0xffff}' if value >> 63 else self.text((value & 0x7fff_ffff) + 2)
                yield library, name, table + 8 * i
                i += 1
            rva += 20

    def functions(self):
        """Starts of whole functions: entries of .pdata that are not chained to others."""
        rva, size = self.directories[3]
        for at in range(rva, rva + size - 11, 12):
            begin, _, info = struct.unpack_from('<III', self.image, at)
            if begin and not info & 1 and not self.image[info] >> 3 & 4:
                yield begin

    def read_parts(self):
        """Begin, end and the primary part's begin of everything in .pdata."""
        rva, size = self.directories[3]
        entries = [struct.unpack_from('<III', self.image, at) for at in range(rva, rva + size - 11, 12)]
        parts = []
        for begin, end, info in entries:
            first = begin
            while self.image[info] >> 3 & 4:
                codes = self.image[info + 2] + 1 & ~1
                first, _, info = struct.unpack_from('<III', self.image, info + 4 + 2 * codes)
            parts.append((begin, end, first))
        return parts

    def part(self, rva):
        """The entry that holds an address; of a leaf the gap between two entries."""
        at = bisect.bisect_right(self.parts, (rva, 1 << 32, 0))
        if at and rva < self.parts[at - 1][1]:
            return self.parts[at - 1]
        return None

    def is_code(self, rva):
        return any(first <= rva < end for first, end in self.code)


def call_at(image, rva):
    """Whether a call stands here."""
    code = image.image[rva:rva + 3]
    if 0x40 <= code[0] <= 0x4f:
        code = code[1:]
    return code[0] == 0xe8 or code[0] == 0xff and code[1] >> 3 & 7 == 2


class Emulator:
    def __init__(self, images, out):
        self.images, self.out = images, out
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.stubs, self.heap = {}, HEAP
        self.seen = set()
        self.samples = self.extra = 0
        self.map()
        self.uc.hook_add(UC_HOOK_CODE, self.instruction, None, FIRST_BASE,
                         FIRST_BASE + SPACING * len(images) - 1)
        self.uc.hook_add(UC_HOOK_CODE, self.stub, None, STUBS, STUBS + STUB_BYTES - 1)
        self.uc.hook_add(UC_HOOK_MEM_UNMAPPED, self.unmapped)

    def map(self):
        uc, exports = self.uc, {}
        for image in self.images:
            for name, rva in image.exports().items():
                exports[image.name.lower(), name] = image.base + rva
        uc.mem_map(STUBS, STUB_BYTES)
        uc.mem_write(STUBS, b'\xc3' * STUB_BYTES)
        for image in self.images:
            for library, name, slot in image.imports():
                target = exports.get((library, name))
                if target is None:
                    target = self.stubs.setdefault(name, STUBS + 16 * (1 + len(self.stubs)))
                struct.pack_into('<Q', image.image, slot, target)
            uc.mem_map(image.base, image.size)
            uc.mem_write(image.base, bytes(image.image))
            # What made-up arguments lead to writing elsewhere must not change the code.
            for first, end in image.code:
                uc.mem_protect(image.base + first, end - first + 0xfff & ~0xfff, UC_PROT_READ | UC_PROT_EXEC)
        self.names = {address: name for name, address in self.stubs.items()}
        uc.mem_map(HARNESS, 0x1000)
        uc.mem_write(HARNESS, b'\xf4' * 0x1000)
        # nop ..; jmp r11: unicorn may lose the first instruction after a run that an error ended.
        uc.mem_write(START, b'\x90' * 16 + b'\x41\xff\xe3')
        uc.mem_map(STACK, STACK_BYTES)
        uc.mem_map(HEAP, HEAP_BYTES)
        uc.mem_map(TEB, 0x4000)
        uc.mem_write(TEB + 8, struct.pack('<QQ', STACK + STACK_BYTES, STACK))
        uc.mem_write(TEB + 0x30, struct.pack('<Q', TEB))
        uc.mem_write(TEB + 0x58, struct.pack('<Q', TEB + 0x2000))
        for slot in range(64):
            uc.mem_write(TEB + 0x2000 + 8 * slot, struct.pack('<Q', TEB + 0x3000))
        uc.reg_write(UC_X86_REG_GS_BASE, TEB)

    def allocate(self, size):
        size = min(max(size, 16), 0x1_0000)
        at = self.heap
        self.heap += size + 15 & ~15
        if self.heap > HEAP + HEAP_BYTES - 0x2_0000:
            self.heap = HEAP
        return at

    def stub(self, uc, address, size, _):
        """What a function outside of the DLLs returns."""
        name = self.names.get(address, '')
        rcx, rdx = uc.reg_read(UC_X86_REG_RCX), uc.reg_read(UC_X86_REG_RDX)
        if name in ('malloc', '_malloc_base', 'HeapAlloc', 'LocalAlloc', 'VirtualAlloc'):
            value = self.allocate(rcx & 0xffff)
        elif name in ('calloc', '_calloc_base'):
            value = self.allocate((rcx & 0xff) * (rdx & 0xff))
        elif name in ('EncodePointer', 'DecodePointer', 'RtlEncodePointer'):
            value = rcx
        else:
            value = self.random.choice([0, 0, 1, 1, HEAP + 0x800, 0xffff_ffff])
        uc.reg_write(UC_X86_REG_RAX, value)

    def unmapped(self, uc, access, address, size, value, _):
        """Memory that a made-up pointer leads to. As code it returns. Unicorn may go on in the middle of the
        instruction, so the run begins again."""
        page = address & ~0xfff
        if len(self.mapped) >= MOST_PAGES or page < 0x1000 or page >> 47:
            return False
        try:
            uc.mem_map(page, 0x1000, UC_PROT_ALL)
        except UcError:
            return False
        self.mapped.append(page)
        uc.mem_write(page, b'\xc3' * 0x1000)
        self.again, self.shadow = True, []
        return True

    def instruction(self, uc, address, size, _):
        rsp = uc.reg_read(UC_X86_REG_RSP)
        shadow = self.shadow
        image = self.images[(address - FIRST_BASE) // SPACING]
        rva = address - image.base
        called = None
        if self.called is not None:
            behind, kept, before = self.called
            # The first instruction of what was called, unless it was outside of the DLLs and is back already.
            if rsp == before - 8:
                shadow.append((behind, rsp, kept))
                called = behind
            self.called = None
        returned = None
        while shadow and shadow[-1][1] < rsp:
            returned, _, _ = shadow.pop()
        if not shadow or not self.is_honest(image, address, called, returned):
            uc.emu_stop()
            return
        self.behind = address + size
        if call_at(image, rva):
            kept = [uc.reg_read(register) for register in KEPT]
            self.called = (address + size, kept, rsp)
        if address not in self.seen or self.random.random() < 0.001:
            self.extra += address in self.seen
            self.seen.add(address)
            self.sample(address, rsp)

    def is_honest(self, image, address, called, returned):
        """Whether compiled code goes this way: made-up arguments lead to calls into the middle of functions, and
        functions that never return, such as those that throw, return here."""
        rva = address - image.base
        first, end, before = self.part
        if returned is None and called is None and first <= address < end:
            return True
        part = image.part(rva)
        if part is None:
            # A leaf has no entry. Code does not run into it.
            first, end, now = address, address + 1, None
        else:
            first, end, now = image.base + part[0], image.base + part[1], image.base + part[2]
        self.part = first, end, now
        if returned is not None:
            return address == returned
        if called is not None:
            return image.is_code(rva) and (now is None or now == address)
        if now is not None and now == before:
            return True
        if now is None and before is None:
            return True
        return address != self.behind and (now is None or now == address)

    def sample(self, address, rsp):
        bottom = self.shadow[0][1] + 0x48
        if bottom - rsp > MOST_STACK or rsp % 8:
            return
        uc, out = self.uc, self.out
        registers = [uc.reg_read(register) for register in GPR]
        stack = uc.mem_read(rsp, bottom - rsp)
        out.write(struct.pack('<17QII', *registers, address, len(self.shadow), len(stack)))
        for behind, slot, kept in reversed(self.shadow):
            out.write(struct.pack('<10Q', behind, slot + 8, *kept))
        out.write(stack)
        self.samples += 1

    def scratch(self, kind):
        """An argument: nothing, a number, or an object."""
        pick = self.random
        if kind == 0:
            return 0
        if kind == 1:
            return pick.randrange(64)
        at = self.allocate(0x400)
        if kind == 2:
            self.uc.mem_write(at, bytes(0x400))
        elif kind == 3:
            words = [at + 8 * pick.randrange(128) for _ in range(128)]
            self.uc.mem_write(at, struct.pack('<128Q', *words))
        else:
            self.uc.mem_write(at, pick.randbytes(0x3fe) + b'\0\0')
        return at

    def run(self, image, rva, attempt):
        self.mapped = []
        for _ in range(MOST_PAGES):
            self.once(image, rva, attempt)
            if not self.again:
                break
        for page in self.mapped:
            self.uc.mem_unmap(page, 0x1000)

    def once(self, image, rva, attempt):
        uc = self.uc
        self.random = random.Random((image.base + rva) * 16 + attempt)
        self.again, self.heap = False, HEAP + 0x1000
        kinds = ([2, 2, 2, 2], [3, 3, 1, 3], [2, 1, 2, 0], [4, 4, 1, 1], [0, 0, 0, 0])[attempt % 5]
        rsp = TOP - 0x100 - 16 * self.random.randrange(8) - 8
        uc.mem_write(STACK + STACK_BYTES - 0x8000, self.random.randbytes(0x7000))
        for slot in range(16):
            uc.mem_write(rsp + 8 * slot, struct.pack('<Q', self.scratch(self.random.choice(kinds))))
        uc.mem_write(rsp, struct.pack('<Q', HARNESS))
        for register in GPR:
            uc.reg_write(register, self.random.getrandbits(40))
        for register, kind in zip([UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_R8, UC_X86_REG_R9], kinds):
            uc.reg_write(register, self.scratch(kind))
        uc.reg_write(UC_X86_REG_R11, image.base + rva)
        uc.reg_write(UC_X86_REG_RSP, rsp)
        uc.reg_write(UC_X86_REG_EFLAGS, 0x202)
        kept = [uc.reg_read(register) for register in KEPT]
        self.shadow, self.called = [(HARNESS, rsp, kept)], None
        self.part, self.behind = (0, 0, None), 0
        try:
            uc.emu_start(START, HARNESS, timeout=2_000_000, count=INSTRUCTIONS)
        except UcError:
            pass


def main():
    folder, path = sys.argv[1:3]
    attempts = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    names = sorted(name for name in os.listdir(folder) if name.endswith('.dll'))
    images = [Image(os.path.join(folder, name), FIRST_BASE + SPACING * i) for i, name in enumerate(names)]
    with open(path, 'wb') as out:
        out.write(b'UWSAMPL1' + struct.pack('<I', len(images)))
        for image in images:
            out.write(struct.pack('<H', len(image.name)) + image.name.encode() + struct.pack('<Q', image.base))
        emulator = Emulator(images, out)
        for image in images:
            starts = set(image.functions()) | {rva for rva in image.exports().values() if image.is_code(rva)}
            before, begun = emulator.samples, time.time()
            for rva in sorted(starts):
                for attempt in range(attempts):
                    emulator.run(image, rva, attempt)
            print(f'{image.name}: {len(starts)} functions, {emulator.samples - before} samples, '
                  f'{time.time() - begun:.0f} s', flush=True)
    print(f'{emulator.samples} samples of {len(emulator.seen)} instructions')


main()
