"""Reads pages of a dump with libkdumpfile; prints what it is, then number and CRC-32 of each page.

usage: libkdumpfile.py FIRST-END,FIRST-END,... FILE...

Its Python module opens one file only; the parts of a split dump take the library itself.
"""

import ctypes
import ctypes.util
import os
import struct
import sys
import zlib

PAGE = 4096
MACHINE_PHYSICAL = 1
NO_DATA = 3


class Attribute(ctypes.Structure):
    """kdump_attr_t, of a string."""

    _fields_ = [("type", ctypes.c_int), ("value", ctypes.c_char_p)]


def one(path):
    """A file, by way of the module."""
    import kdumpfile

    dump = kdumpfile.kdumpfile(path)
    yield dump.attr["file.format"]

    def read(pfn):
        try:
            return dump.read(kdumpfile.KDUMP_MACHPHYSADDR, pfn * PAGE, PAGE)
        except kdumpfile.exceptions.NoDataException:
            return None

    yield read


def several(paths):
    """The parts of a dump, by way of libkdumpfile/kdumpfile.h."""
    library = ctypes.CDLL(ctypes.util.find_library("kdumpfile"))
    library.kdump_new.restype = ctypes.c_void_p
    library.kdump_get_err.restype = ctypes.c_char_p
    context = ctypes.c_void_p(library.kdump_new())

    def check(status):
        if status != 0:
            sys.exit(library.kdump_get_err(context).decode())

    files = [os.open(path, os.O_RDONLY) for path in paths]
    check(library.kdump_open_fdset(context, len(files), (ctypes.c_int * len(files))(*files)))
    name = Attribute()
    check(library.kdump_get_attr(context, b"file.format", ctypes.byref(name)))
    yield name.value.decode()
    page = ctypes.create_string_buffer(PAGE)

    def read(pfn):
        size = ctypes.c_size_t(PAGE)
        address = ctypes.c_uint64(pfn * PAGE)
        status = library.kdump_read(context, MACHINE_PHYSICAL, address, page, ctypes.byref(size))
        if status == NO_DATA:
            return None
        check(status)
        return page.raw

    yield read


ranges = [[int(n) for n in pair.split("-")] for pair in sys.argv[1].split(",")]
files = sys.argv[2:]
name, read = one(files[0]) if len(files) == 1 else several(files)
out = sys.stdout.buffer
out.write(name.encode() + b"\n")
for pfn in sorted({pfn for pair in ranges for pfn in range(*pair)}):
    page = read(pfn)
    if page is not None:
        out.write(struct.pack("<QI", pfn, zlib.crc32(page)))
