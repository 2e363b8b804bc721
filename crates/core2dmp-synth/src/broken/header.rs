//! Fields of the header: every row of the table of DUMP_HEADER64, and the 32-bit header's counterparts.

use super::row::{Row, table};

#[rustfmt::skip]
pub(super) static ROWS: &[&[Row]] = table! {
    "signature" [Full64 Full32] |case| case.put(0, b"PAGF")
        => Refused "Signature" "Could not match Dump File signature" Whole;
    "valid dump 0" [Full64 Full32] |case| case.put_u32(4, 0)
        => Refused "ValidDump" "Could not match Dump File signature" Whole;
    "valid dump DU65" [Full64 Bitmap64] |case| case.put(4, b"DU65")
        => Refused "ValidDump" "Could not match Dump File signature" Whole;

    "major version 0" [Full64 Full32] |case| case.put_u32(8, 0)
        => Cosmetic "MajorVersion" "" Whole;
    "major version PAGE" [Full64 Full32] |case| case.unset(8, 4)
        => Broken "MajorVersion" "PARTIALLY CORRUPT" Whole;
    "build 0" [Full64 Full32] |case| case.put_u32(0xc, 0)
        => Broken "MinorVersion" "PARTIALLY CORRUPT" Whole;
    "another build" [Full64 Full32] |case| case.put_u32(0xc, 9200)
        => Cosmetic "MinorVersion" "" Whole;

    "page tables 0" [Full64 Full32 Bitmap64 Summary64] |case| case.put_word(0x10, 0)
        => Refused "DirectoryTableBase" "Invalid directory table base value 0x0" Whole;
    "page tables elsewhere" [Full64 Full32 Bitmap64 Summary64] |case| case.add_word(0x10, 0x3000)
        => Broken "DirectoryTableBase" "PARTIALLY CORRUPT" Whole;
    "page tables outside memory" [Full64 Full32] |case| case.put_word(0x10, 0x7eec_1000)
        => Broken "DirectoryTableBase" "PARTIALLY CORRUPT" Whole;
    "page tables with flags" [Full64] |case| case.add_word(0x10, 0x18)
        => Silent "" "" Nothing;

    "frame database of another boot" [Full64 Full32] |case| case.add_word(case.at().pfn_database, -0x20_0000)
        => Cosmetic "PfnDataBase" "" Whole;
    "frame database 0" [Full64 Full32] |case| case.put_word(case.at().pfn_database, 0)
        => Cosmetic "PfnDataBase" "" Whole;
    "frame database by address" [Full64 Full32] |case| {
        case.put_word(case.at().pfn_database, case.guest.expected.pfn_database_variable);
    } => Silent "" "" Nothing;

    "module list 0" [Full64 Full32] |case| case.put_word(case.at().modules, 0)
        => Cosmetic "PsLoadedModuleList" "Debugger can not determine kernel base address" Whole;
    "module list of another boot" [Full64 Full32] |case| case.add_word(case.at().modules, -0x20_0000)
        => Cosmetic "PsLoadedModuleList" "Debugger can not determine kernel base address" Whole;
    "module list PAGE" [Full64] |case| case.unset(0x20, 8)
        => Cosmetic "PsLoadedModuleList" "Debugger can not determine kernel base address" Whole;
    "process list 0" [Full64 Full32] |case| case.put_word(case.at().processes, 0)
        => Cosmetic "PsActiveProcessHead" "" Whole;
    "process list of another boot" [Full64 Full32] |case| case.add_word(case.at().processes, -0x20_0000)
        => Cosmetic "PsActiveProcessHead" "" Whole;

    "machine 0" [Full64 Full32] |case| case.put_u32(case.at().machine, 0)
        => Refused "MachineImageType" "Unable to initialize target machine information" Whole;
    "machine x86" [Full64] |case| case.put_u32(0x30, 0x14c)
        => Broken "MachineImageType" "PARTIALLY CORRUPT" Whole;
    "machine x64" [Full32] |case| case.put_u32(0x20, 0x8664)
        => Broken "MachineImageType" "PARTIALLY CORRUPT" Whole;
    "machine ARM64" [Full64 Full32] |case| case.put_u32(case.at().machine, 0xaa64)
        => Broken "MachineImageType" "PARTIALLY CORRUPT" Whole;
    "machine Itanium" [Full64] |case| case.put_u32(0x30, 0x200)
        => Broken "MachineImageType" "PARTIALLY CORRUPT" Whole;
    "machine ARM" [Full64 Full32] |case| case.put_u32(case.at().machine, 0x1c4)
        => Broken "MachineImageType" "PARTIALLY CORRUPT" Whole;
    "machine PAGE" [Full64 Full32] |case| case.unset(case.at().machine, 4)
        => Refused "MachineImageType" "Unable to initialize target machine information" Whole;

    "no processors" [Full64 Full32] |case| case.put_u32(case.at().processors, 0)
        => Refused "NumberProcessors" "8000FFFF" Whole;
    "a processor too many" [Full64 Full32] |case| case.put_u32(case.at().processors, 3)
        => Broken "NumberProcessors" "GetContextState failed" Whole;
    "processors PAGE" [Full64 Full32] |case| case.unset(case.at().processors, 4)
        => Refused "NumberProcessors" "Invalid number of processors" Whole;
    "4096 processors" [Full64 Full32] |case| case.put_u32(case.at().processors, 4096)
        => Refused "NumberProcessors" "Invalid number of processors" Whole;
    "a processor too few" [Full64 Full32] |case| case.put_u32(case.at().processors, 1)
        => Broken "NumberProcessors" "" Whole;

    "another stop code" [Full64 Full32] |case| case.put_u32(case.at().stop_code, 0x161)
        => Broken "BugCheckCode" "" Whole;
    "another parameter" [Full64 Full32] |case| case.put_word(case.at().parameter1, 0x77)
        => Broken "BugCheckParameter1" "" Whole;

    "debugger data 0" [Full64 Full32 Bitmap64 Summary64] |case| case.put_word(case.at().kdbg, 0)
        => Broken "KdDebuggerDataBlock" "KdDebuggerDataBlock not available!" Whole;
    "debugger data elsewhere" [Full64 Full32] |case| {
        case.put_word(case.at().kdbg, case.guest.expected.kernel.base + 0x1000);
    } => Broken "KdDebuggerDataBlock" "PARTIALLY CORRUPT" Whole;
    "debugger data of another boot" [Full64 Full32] |case| case.add_word(case.at().kdbg, -0x4c20_0000)
        => Broken "KdDebuggerDataBlock" "PARTIALLY CORRUPT" Whole;
    "debugger data PAGE" [Full64] |case| case.unset(0x80, 8)
        => Broken "KdDebuggerDataBlock" "PARTIALLY CORRUPT" Whole;
    "debugger data PAGE" [Full32] |case| case.unset(0x60, 4)
        => Broken "KdDebuggerDataBlock" "KdDebuggerDataBlock not available!" Whole;
    "debugger data not sign-extended" [Full64] |case| case.put_u32(0x84, 0)
        => Broken "KdDebuggerDataBlock" "PARTIALLY CORRUPT" Whole;

    "a run too few" [Full64 Full32] |case| case.add_u32(case.at().runs, -1)
        => Broken "PhysicalMemoryBlock.NumberOfRuns" "PARTIALLY CORRUPT" Whole;
    "a run too many" [Full64 Full32] |case| case.add_u32(case.at().runs, 1)
        => Cosmetic "PhysicalMemoryBlock.NumberOfRuns" "" Whole;
    "no runs" [Full64 Full32] |case| case.put_u32(case.at().runs, 0)
        => Broken "PhysicalMemoryBlock.NumberOfRuns" "PARTIALLY CORRUPT" Whole;
    "43 runs" [Full64] |case| case.put_u32(0x88, 43)
        => Broken "PhysicalMemoryBlock.NumberOfRuns" "physical memory block has been truncated" Whole;
    "87 runs" [Full32] |case| case.put_u32(0x64, 87)
        => Broken "PhysicalMemoryBlock.NumberOfRuns" "physical memory block has been truncated" Whole;
    "runs PAGE" [Full64 Full32] |case| case.unset(case.at().runs, 4)
        => Broken "PhysicalMemoryBlock.NumberOfRuns" "physical memory block has been truncated" Whole;
    "a page too many" [Full64 Full32] |case| case.add_word(case.at().pages, 1)
        => Broken "PhysicalMemoryBlock.NumberOfPages" "Dump file has been truncated" Whole;
    "no pages" [Full64 Full32] |case| case.put_word(case.at().pages, 0)
        => Cosmetic "PhysicalMemoryBlock.NumberOfPages" "" Whole;
    "first run a frame later" [Full64 Full32] |case| case.add_word(case.at().first_run, 1)
        => Broken "PhysicalMemoryBlock.Run" "" Whole;
    "first run a frame shorter" [Full64 Full32] |case| {
        case.add_word(case.at().first_run + if case.is_wide() { 8 } else { 4 }, -1);
    } => Broken "PhysicalMemoryBlock.Run" "PARTIALLY CORRUPT" Whole;

    "context 0" [Full64 Full32] |case| case.put(case.at().context, &[0; 0x2cc])
        => Cosmetic "ContextRecord" "" Whole;
    "context PAGE" [Full64 Full32] |case| case.unset(case.at().context, if case.is_wide() { 3000 } else { 1200 })
        => Cosmetic "ContextRecord" "" Whole;
    "exception 0" [Full64 Full32] |case| case.put_u32(case.at().exception, 0)
        => Cosmetic "Exception.ExceptionCode" "Unknown exception - code 00000000" Whole;
    "exception PAGE" [Full64 Full32] |case| case.unset(case.at().exception, 0x50)
        => Cosmetic "Exception.ExceptionCode" "Unknown exception - code 45474150" Whole;

    "dump type PAGE" [Full64 Full32] |case| case.unset(case.at().dump_type, 4)
        => Cosmetic "DumpType" "" Whole;
    "dump type 0" [Full64 Full32 Bitmap64] |case| case.put_u32(case.at().dump_type, 0)
        => Refused "DumpType" "Could not match Dump File signature" Whole;
    "dump type 2" [Full64 Full32] |case| case.put_u32(case.at().dump_type, 2)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
    "dump type 3" [Full64 Full32] |case| case.put_u32(case.at().dump_type, 3)
        => Refused "DumpType" "Could not match Dump File signature" Whole;
    "dump type 4" [Full64 Full32] |case| case.put_u32(case.at().dump_type, 4)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
    "dump type 5" [Full64 Full32] |case| case.put_u32(case.at().dump_type, 5)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
    "dump type 6" [Full64 Full32] |case| case.put_u32(case.at().dump_type, 6)
        => Refused "DumpType" "Win32 error 0n1392" Whole;
    "dump type 7" [Full64 Full32 Bitmap64] |case| case.put_u32(case.at().dump_type, 7)
        => Refused "DumpType" "Could not match Dump File signature" Whole;
    "dump type 8" [Full64] |case| case.put_u32(0xf98, 8)
        => Refused "DumpType" "Could not match Dump File signature" Whole;
    "dump type 10" [Full64] |case| case.put_u32(0xf98, 10)
        => Refused "DumpType" "Could not match Dump File signature" Whole;

    "dump space 0" [Full64 Full32] |case| case.put_u64(0xfa0, 0)
        => Silent "" "" Nothing;
    "dump space of another dump" [Full64 Full32] |case| case.put_u64(0xfa0, 0x2862_5000)
        => Cosmetic "RequiredDumpSpace" "" Whole;
    "time 0" [Full64 Full32] |case| case.put_u64(case.at().time, 0)
        => Cosmetic "SystemTime" "" Whole;
    "time of another day" [Full64 Full32] |case| case.add_u32(case.at().time + 4, -0xc9)
        => Cosmetic "SystemTime" "" Whole;
    "up time 0" [Full64 Full32] |case| case.put_u64(case.at().up_time, 0)
        => Cosmetic "SystemUpTime" "" Whole;
    "up time of another boot" [Full64 Full32] |case| case.put_u64(case.at().up_time, 0xe6_0dd9_9e66)
        => Cosmetic "SystemUpTime" "" Whole;

    "comment of bytes" [Full64 Full32] |case| case.put(case.at().comment, &[0xff, 0x1b, 7, 0x80, 0])
        => Silent "" "" Nothing;
    "secondary data 0" [Full64 Full32] |case| case.put_u32(case.at().secondary, 0)
        => Silent "" "" Nothing;
    "writer status 1" [Full64 Full32] |case| case.put_u32(case.at().writer, 1)
        => Silent "" "" Nothing;
    "made offline" [Full64 Full32] |case| case.put_u32(case.at().attributes, 0x20)
        => Silent "" "" Nothing;
    "encrypted" [Full64 Full32] |case| case.put_u32(case.at().attributes, 0x100)
        => Broken "Attributes" "" No;
    "PAE the other way" [Full32] |case| case.put(0x5c, &[0])
        => Broken "PaeEnabled" "PARTIALLY CORRUPT" Whole;
    "PAE PAGE" [Full32] |case| case.put(0x5c, b"P")
        => Broken "PaeEnabled" "PARTIALLY CORRUPT" Whole;
};
