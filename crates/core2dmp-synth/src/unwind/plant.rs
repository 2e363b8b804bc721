//! A guest whose processor stands deep in drivers: functions with unwind data of every kind, and their stack.
//!
//! ```text
//! disk.sys thread -> tcpip.sys pushes -> xenpci.sys frame register -> tcpip.sys in a chained part
//!     -> interrupted in a prolog -> disk.sys handler behind a machine frame   (x64 guests only)
//! ```

use super::x64::{Code, Function, Info, Insn, Machine};
use crate::Guest;

/// Where things are in a driver of our guests, which has its headers, data and code in 0x7000 bytes.
const EXCEPTION_DIRECTORY: u64 = 0x198;
const PDATA: u64 = 0x3000;
const XDATA: u64 = 0x3400;
const TEXT: u64 = 0x4800;
/// Room for a function.
const STRIDE: u64 = 0x100;
/// Registers in a `CONTEXT`: RAX to R15, then RIP.
const CONTEXT_RAX: u64 = 0x78;

/// What a correct walk finds, the innermost frame first.
#[derive(Clone, Debug)]
pub struct Planted {
    /// Instruction and stack pointers.
    pub frames: Vec<(u64, u64)>,
}

/// The tables of one driver.
struct Driver {
    base: u64,
    entries: Vec<[u32; 3]>,
    xdata: Vec<u8>,
}

impl Driver {
    fn new(guest: &Guest, name: &str) -> Self {
        let mut modules = guest.expected.modules.iter();
        let module = modules.find(|module| module.name == name);
        Self {
            base: module.expect("such a driver").base,
            entries: Vec::new(),
            xdata: Vec::new(),
        }
    }

    /// Puts code in the next room, with unwind information; returns its address.
    fn add(&mut self, guest: &mut Guest, code: &[u8], info: &[u8]) -> u64 {
        let rva = TEXT + STRIDE * self.entries.len() as u64;
        guest.write_va(self.base + rva, code);
        let at = XDATA as u32 + self.xdata.len() as u32;
        self.entries
            .push([rva as u32, rva as u32 + code.len() as u32, at]);
        self.xdata.extend_from_slice(info);
        self.xdata.resize(self.xdata.len().next_multiple_of(4), 0);
        self.base + rva
    }

    fn finish(self, guest: &mut Guest) {
        let table: Vec<u8> = self
            .entries
            .concat()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let directory = [PDATA as u32, table.len() as u32]
            .map(u32::to_le_bytes)
            .concat();
        guest.write_va(self.base + EXCEPTION_DIRECTORY, &directory);
        guest.write_va(self.base + PDATA, &table);
        guest.write_va(self.base + XDATA, &self.xdata);
    }
}

/// The code and information of a function whose body is a call and rest.
fn body(prolog: Vec<Insn>) -> Function {
    Function {
        prolog,
        body: vec![Insn::Raw(&[0xe8, 0, 0, 0, 0]), Insn::Nop, Insn::Nop],
        epilog: vec![Insn::Ret],
        version: 1,
    }
}

fn prolog_bytes(function: &Function) -> u64 {
    function
        .prolog
        .iter()
        .map(|it| it.bytes().len() as u64)
        .sum()
}

/// Lets a processor of a crashed guest stand there; its saved registers and its stack change.
pub fn plant(guest: &mut Guest, processor: usize) -> Planted {
    let [mut disk, mut tcpip, mut xenpci] =
        ["disk.sys", "tcpip.sys", "xenpci.sys"].map(|name| Driver::new(guest, name));
    let context = guest.expected.processors[processor].context;
    let word = |guest: &Guest, at: u64| {
        let bytes = guest.read_va(at, 8).expect("a context");
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    };
    let mut machine = Machine::default();
    for (number, register) in machine.gpr.iter_mut().enumerate() {
        *register = word(guest, context + CONTEXT_RAX + 8 * number as u64);
    }
    machine.gpr[4] &= !0xf;
    let mut frames = Vec::new();

    let thread = body(vec![Insn::Sub(0x28)]);
    let pushes = body(vec![
        Insn::Push(3),
        Insn::Push(14),
        Insn::Push(7),
        Insn::Sub(0x70),
    ]);
    let framed = body(vec![
        Insn::Push(5),
        Insn::Sub(0x90),
        Insn::SetFrame(5, 0x20),
    ]);
    let mut back = 0;
    for (driver, function) in [
        (&mut disk, &thread),
        (&mut tcpip, &pushes),
        (&mut xenpci, &framed),
    ] {
        let at = driver.add(guest, &function.code(), &function.info().bytes());
        machine.push(back);
        for instruction in &function.prolog {
            machine.execute(*instruction);
        }
        back = at + prolog_bytes(function) + 5;
        frames.push((back, machine.gpr[4]));
        machine.execute(Insn::Use(3, 0x33));
    }
    // The stack grows later in the function with a frame register.
    machine.execute(Insn::Sub(0x50));
    frames.last_mut().expect("frames").1 = machine.gpr[4];

    // A function whose second part is elsewhere.
    let split = body(vec![Insn::Push(6), Insn::Sub(0x40)]);
    let info_at = XDATA as u32 + tcpip.xdata.len() as u32;
    let hot = tcpip.add(guest, &split.code(), &split.info().bytes());
    let hot_rva = (hot - tcpip.base) as u32;
    let cold = Info {
        codes: vec![(5, Code::SaveNonvol(12, 0x30))],
        prolog: 5,
        chained: Some([hot_rva, hot_rva + split.code().len() as u32, info_at]),
        ..Info::default()
    };
    let cold_code = [
        Insn::Save(12, 0x30).bytes(),
        vec![0xe8, 0, 0, 0, 0],
        vec![0x90; 8],
    ]
    .concat();
    let cold = tcpip.add(guest, &cold_code, &cold.bytes());
    machine.push(back);
    for instruction in split.prolog.iter().chain(&[Insn::Save(12, 0x30)]) {
        machine.execute(*instruction);
    }
    machine.execute(Insn::Use(12, 0x12));
    back = cold + 10;
    frames.push((back, machine.gpr[4]));

    // Interrupted when one register had been pushed.
    let interrupted = body(vec![Insn::Push(15), Insn::Push(13), Insn::Sub(0x30)]);
    let at = xenpci.add(guest, &interrupted.code(), &interrupted.info().bytes());
    machine.push(back);
    machine.execute(interrupted.prolog[0]);
    let rip = at + interrupted.prolog[0].bytes().len() as u64;
    frames.push((rip, machine.gpr[4]));

    let handler = Info {
        codes: vec![
            (5, Code::AllocSmall(0x60)),
            (1, Code::PushNonvol(5)),
            (0, Code::PushMachframe(true)),
        ],
        prolog: 5,
        ..Info::default()
    };
    let code = [
        Insn::Push(5).bytes(),
        Insn::Sub(0x60).bytes(),
        vec![0x90; 16],
    ]
    .concat();
    let handler = disk.add(guest, &code, &handler.bytes());
    let rsp = machine.gpr[4];
    machine.gpr[4] &= !0xf;
    for word in [0x18, rsp, 0x10246, 0x10, rip, 2] {
        machine.push(word);
    }
    machine.execute(Insn::Push(5));
    machine.execute(Insn::Sub(0x60));
    frames.push((handler + 8, machine.gpr[4]));

    for driver in [disk, tcpip, xenpci] {
        driver.finish(guest);
    }
    for (at, word) in &machine.stack {
        guest.write_va(*at, &word.to_le_bytes());
    }
    let registers = machine.gpr.iter().copied().chain([handler + 8]);
    for (register, at) in registers.zip((context + CONTEXT_RAX..).step_by(8)) {
        guest.write_va(at, &register.to_le_bytes());
    }
    frames.reverse();
    Planted { frames }
}
