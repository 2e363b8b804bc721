//! What the emulator wrote, and memory made of it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use core2dmp::address::{Gpa, Gva, Pfn};
use core2dmp::memory::{Backing, Frames, PhysicalMemory, RunBuilder};
use core2dmp::paging::{AddressSpace, PagingMode};
use core2dmp::source::ReadAt;
use core2dmp::windows::Module;
use core2dmp::windows::unwind::{Unwinder, X64};
use core2dmp_synth::bare::{Physical, Tables, VirtualMemory};

use crate::run::Outcome;

/// Numbers of RBX, RBP, RSI, RDI, R12 to R15.
pub const KEPT: [(usize, &str); 8] = [
    (3, "rbx"),
    (5, "rbp"),
    (6, "rsi"),
    (7, "rdi"),
    (12, "r12"),
    (13, "r13"),
    (14, "r14"),
    (15, "r15"),
];
/// Where the emulator's stack is.
const STACK: u64 = 0x10_0000_0000;
const STACK_BYTES: u64 = 0x20_0000;

/// A caller, as it is behind the return.
pub struct Truth {
    rip: u64,
    pub rsp: u64,
    pub kept: [u64; 8],
}

impl Truth {
    /// What is not as it should be.
    pub fn differs(&self, found: &X64) -> String {
        let mut wrong = Vec::new();
        for (name, found, truth) in [
            ("rip", found.rip, self.rip),
            ("rsp", found.gpr[4], self.rsp),
        ] {
            if found != truth {
                wrong.push(format!("{name} {found:#x}, not {truth:#x}"));
            }
        }
        for ((number, name), truth) in KEPT.iter().zip(self.kept) {
            let found = found.gpr[*number];
            if found != truth {
                wrong.push(format!("{name} {found:#x}, not {truth:#x}"));
            }
        }
        wrong.join(", ")
    }
}

/// One instruction before it is executed.
pub struct Sample {
    pub registers: X64,
    pub frames: Vec<Truth>,
    pub stack: Vec<u8>,
}

impl Sample {
    pub fn ip(&self) -> u64 {
        self.registers.rip
    }

    pub fn rsp(&self) -> u64 {
        self.registers.gpr[4]
    }
}

/// An image's name and base.
pub type Loaded = (String, u64);

pub struct Samples {
    pub images: Vec<Loaded>,
    file: File,
    start: u64,
}

impl Samples {
    pub fn open(path: &Path) -> Outcome<Self> {
        let mut file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        if &magic != b"UWSAMPL1" {
            return Err("not a file of samples".into());
        }
        let count = u32::from_le_bytes(array(&mut file)?);
        let mut images = Vec::new();
        for _ in 0..count {
            let mut name = vec![0; usize::from(u16::from_le_bytes(array(&mut file)?))];
            file.read_exact(&mut name)?;
            let base = u64::from_le_bytes(array(&mut file)?);
            images.push((String::from_utf8(name)?, base));
        }
        let start = file.stream_position()?;
        Ok(Self {
            images,
            file,
            start,
        })
    }

    /// The image and the offset of an instruction.
    pub fn place(&self, ip: u64) -> (&str, u64) {
        let mut below = self.images.iter().filter(|(_, base)| *base <= ip);
        let (name, base) = below.next_back().expect("in an image");
        (name, ip - base)
    }
}

impl<'a> IntoIterator for &'a Samples {
    type Item = io::Result<Sample>;
    type IntoIter = Box<dyn Iterator<Item = io::Result<Sample>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        let mut file = BufReader::with_capacity(1 << 20, &self.file);
        if let Err(error) = file.seek(SeekFrom::Start(self.start)) {
            return Box::new(std::iter::once(Err(error)));
        }
        Box::new(std::iter::from_fn(move || match read(&mut file) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            sample => Some(sample),
        }))
    }
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn words<const N: usize>(from: &mut impl Read) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = u64::from_le_bytes(array(from)?);
    }
    Ok(words)
}

fn read(from: &mut impl Read) -> io::Result<Sample> {
    let gpr = words(from)?;
    let [rip] = words(from)?;
    let frames = u32::from_le_bytes(array(from)?);
    let bytes = u32::from_le_bytes(array(from)?);
    let frames = (0..frames)
        .map(|_| {
            let [rip, rsp] = words(from)?;
            let kept = words(from)?;
            Ok(Truth { rip, rsp, kept })
        })
        .collect::<io::Result<_>>()?;
    let mut stack = vec![0; bytes as usize];
    from.read_exact(&mut stack)?;
    let registers = X64 { gpr, rip };
    Ok(Sample {
        registers,
        frames,
        stack,
    })
}

/// The DLLs and a stack, as guest memory.
pub struct Scene {
    physical: Physical,
    memory: PhysicalMemory,
    bytes: Arc<Stack>,
    modules: Vec<Module>,
}

/// All bytes, of which the stack changes.
#[derive(Debug)]
struct Stack(Mutex<Vec<u8>>);

impl ReadAt for Stack {
    fn size(&self) -> u64 {
        self.0.lock().expect("one thread").len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.lock().expect("one thread");
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(buf.len());
        buf[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }
}

impl Scene {
    pub fn new(dlls: &Path, images: &[Loaded]) -> Outcome<Self> {
        let mut memory = VirtualMemory::default();
        let mut modules = Vec::new();
        for (name, base) in images {
            let size = memory.image(*base, &std::fs::read(dlls.join(name))?);
            modules.push(Module::new(name.clone(), Gva::new(*base), size));
        }
        memory.write(STACK, &vec![0; STACK_BYTES as usize]);
        let mut physical = memory.build(Tables::X64);
        let mut runs = RunBuilder::default();
        let frames = physical.bytes.len() as u64 / 4096;
        runs.push(
            Frames::new(Pfn::new(0), frames),
            Backing::File { offset: 0 },
        )?;
        let bytes = Arc::new(Stack(Mutex::new(std::mem::take(&mut physical.bytes))));
        let memory =
            PhysicalMemory::new(bytes.clone(), runs.finish().map_err(|_| "frames overlap")?);
        Ok(Self {
            physical,
            memory,
            bytes,
            modules,
        })
    }

    /// Puts a sample's stack in place.
    pub fn with_stack<T>(&self, sample: &Sample, walk: impl FnOnce(&Unwinder<'_, '_>) -> T) -> T {
        {
            let mut bytes = self.bytes.0.lock().expect("one thread");
            for (word, va) in sample.stack.chunks(8).zip((sample.rsp()..).step_by(8)) {
                let at = self.physical.place(va).expect("on the stack");
                bytes[at..at + word.len()].copy_from_slice(word);
            }
        }
        let root = Gpa::new(self.physical.root);
        let space = AddressSpace::new(&self.memory, PagingMode::X64, root);
        walk(&Unwinder::new(&space, self.modules.iter().cloned()))
    }
}
