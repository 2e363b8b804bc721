//! A guest whose KDBG, lists and shared page are destroyed, and in it the driver's own pages as they are after each of
//! its stores.
//!
//! ```text
//! synthetic guest's header and block --> harness's Windows --> driver's pages --> guest's RAM, mapped where they were
//! ```

use std::io::{self, Cursor};
use std::sync::{Arc, RwLock};

use core2dmp::container::{self, OpenOptions};
use core2dmp::source::ReadAt;
use core2dmp_synth::{Arch, Guest, GuestSpec, RamHeader};
use guest_harness::machine::Machine;
use guest_harness::step::Store;
use guest_harness::windows;
use guest_harness::windows::{Given, Setup};

use crate::setup::{Subject, newest, server2003, triage};

pub(crate) const STOP: (u32, [u64; 4]) = (0xd1, [0x28, 2, 0, 0xf89a_5678]);

/// Pages of the record.
const PAGES: u64 = 8;
const BYTES: usize = 0x8000;

/// A system of the end-to-end tests.
#[derive(Clone)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) spec: GuestSpec,
    machine: Machine,
}

/// Those that a driver runs in: Server 2003 and what came later.
pub(crate) fn systems(machine: Machine) -> Vec<System> {
    let all = [
        ("2003-x64", GuestSpec::windows2003_x64(), Machine::X64),
        ("10-x64", GuestSpec::windows10(), Machine::X64),
        ("2003-x86", GuestSpec::windows2003_x86(), Machine::X86),
        ("2003-pae", GuestSpec::windows2003_pae(), Machine::X86),
    ];
    let fits = all.into_iter().filter(|system| system.2 == machine);
    fits.map(|(name, spec, machine)| System {
        name,
        spec: spec.processors(2).crashed(STOP.0, STOP.1),
        machine,
    })
    .collect()
}

/// What happens to the driver's system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    BugCheck,
    /// A bug check in which Windows makes no header.
    BugCheckWithoutHeader,
    /// The driver's thread sees more memory.
    MemoryAdded,
}

pub(crate) struct Scene {
    pub(crate) guest: Guest,
    pub(crate) before: Vec<u8>,
    pub(crate) stores: Vec<Store>,
    gpa: u64,
}

impl Scene {
    /// The driver starts in this system, and then it happens.
    pub(crate) fn of(subject: &Subject, system: &System, event: Event) -> Self {
        let mut guest = system.spec.clone().build();
        // The pages, and tables that map them.
        let gpa = free(&guest, PAGES + 3) << 12;
        let whole = header(system, (0, [0; 4]));
        let setup = Setup {
            gpa,
            header: match event {
                Event::MemoryAdded => with_less_memory(system.machine, &whole),
                Event::BugCheck | Event::BugCheckWithoutHeader => whole.clone(),
            },
            triage: triage(system.machine, &guest.expected.kdbg.as_ref().unwrap().plain),
            ..as_of(system)
        };
        let world = subject.boot(setup);
        assert_eq!(world.status(), 0);
        let before = windows::memory();
        if event == Event::MemoryAdded {
            windows::change(|setup| setup.header = whole);
        } else {
            let [a, b, c, d] = STOP.1;
            windows::set_stop_code(&world, [STOP.0.into(), a, b, c, d]);
            let refreshed = header(system, STOP);
            windows::change(|setup| setup.header = refreshed);
        }
        if event == Event::BugCheckWithoutHeader {
            windows::change(|setup| setup.status = -1);
        }
        let stores = world.watched(|| match event {
            Event::MemoryAdded => world.tick(),
            Event::BugCheck | Event::BugCheckWithoutHeader => {
                world.callback(3, Given::Nothing);
            }
        });
        guest.frames.write(gpa, &before);
        map(&mut guest, windows::pages() as u64, gpa);
        destroy(&mut guest);
        Self {
            guest,
            before,
            stores,
            gpa,
        }
    }

    /// The guest as it is when the driver is done.
    pub(crate) fn done(&self) -> Guest {
        let mut memory = self.before.clone();
        for store in &self.stores {
            apply(&mut memory, store);
        }
        let mut guest = self.guest.clone();
        guest.frames.write(self.gpa, &memory);
        guest
    }

    /// The guest in a file whose record's pages can be changed, and before the driver's first store.
    pub(crate) fn patient(&self) -> Patient {
        let core = core(&self.guest);
        let at = core
            .windows(BYTES)
            .position(|bytes| bytes == self.before)
            .expect("the pages are neighbours in the file, too");
        let file = Arc::new(Changing(RwLock::new(core)));
        let opened =
            container::open(Arc::clone(&file) as Arc<dyn ReadAt>, OpenOptions::default()).unwrap();
        Patient { file, at, opened }
    }
}

/// A store into the pages.
fn apply(memory: &mut [u8], store: &Store) {
    let at = store.offset as usize;
    memory[at..at + 8].copy_from_slice(&store.value.to_le_bytes());
}

/// A guest that dies store by store.
pub(crate) struct Patient {
    file: Arc<Changing>,
    at: usize,
    pub(crate) opened: container::Guest,
}

impl Patient {
    pub(crate) fn store(&self, store: &Store) {
        let mut bytes = self.file.0.write().unwrap();
        apply(&mut bytes[self.at..self.at + BYTES], store);
    }
}

#[derive(Debug)]
struct Changing(RwLock<Vec<u8>>);

impl ReadAt for Changing {
    fn size(&self) -> u64 {
        self.0.read().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read().unwrap();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

pub(crate) fn core(guest: &Guest) -> Vec<u8> {
    let mut core = Cursor::new(Vec::new());
    guest.xen_core().write_to(&mut core).unwrap();
    core.into_inner()
}

/// The header that Windows would make in this system.
fn header(system: &System, stop: (u32, [u64; 4])) -> Vec<u8> {
    let header = RamHeader::windows().bugcheck(stop.0, stop.1);
    let guest = system.spec.clone().ram_header(header).build();
    let mut bytes = vec![0; system.machine.choose(0x1000, 0x2000)];
    guest
        .frames
        .read(guest.expected.ram_headers[0].gpa, &mut bytes);
    bytes
}

/// What Windows of this system has; 2003 with SP1, which brought the function.
fn as_of(system: &System) -> Setup {
    if !system.name.starts_with("2003") {
        return newest(system.machine);
    }
    let mut setup = server2003(system.machine);
    let brought = |name: &&str| *name == "KeInitializeCrashDumpHeader";
    setup.missing.retain(|name| !brought(name));
    setup
}

/// The header as it was when a page of the first run had not been added.
fn with_less_memory(machine: Machine, header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    // Pages in all, and of the first run.
    for at in machine.choose([0x68, 0x70], [0x90, 0xa0]) {
        header[at] = header[at].checked_sub(1).expect("the low byte is not 0");
    }
    header
}

/// Neighbouring frames that hold nothing.
fn free(guest: &Guest, count: u64) -> u64 {
    let is_free = |pfn: u64| guest.page(pfn) == Some([0; 0x1000]);
    let frames = guest.present.iter().flat_map(|run| run.0..run.0 + run.1);
    frames
        .rev()
        .find(|first| (*first..first + count).all(is_free))
        .unwrap()
}

/// Maps the driver's pages where they were when it wrote them; tables that there are not come behind them.
fn map(guest: &mut Guest, va: u64, gpa: u64) {
    // Of each level: the lowest bit of its index, and the bits of an entry that leads to a table.
    let (levels, entry_bytes): (&[(u64, u64)], usize) = match guest.expected.arch {
        Arch::X64 => (&[(39, 3), (30, 3), (21, 3), (12, 3)], 8),
        // An entry of the first table of PAE is present, and no more.
        Arch::X86Pae => (&[(30, 1), (21, 3), (12, 3)], 8),
        Arch::X86 => (&[(22, 3), (12, 3)], 4),
        Arch::X64La57 | Arch::Arm64 => panic!("no system of these tests"),
    };
    let indices = 0x1000 / entry_bytes as u64 - 1;
    let mut spare = gpa + PAGES * 0x1000;
    for page in 0..PAGES {
        let (va, frame) = (va + page * 0x1000, gpa + page * 0x1000);
        let mut table = guest.expected.dtb;
        for (level, bits) in levels {
            let at = table + ((va >> level) & indices) * entry_bytes as u64;
            let mut entry = [0; 8];
            guest.frames.read(at, &mut entry[..entry_bytes]);
            let known = u64::from_le_bytes(entry);
            let new = match (*level, known & 1) {
                (12, 0) => frame | 3,
                (12, _) => panic!("{va:#x} is mapped"),
                (_, 0) => {
                    spare += 0x1000;
                    (spare - 0x1000) | bits
                }
                _ => known,
            };
            guest.frames.write(at, &new.to_le_bytes()[..entry_bytes]);
            table = new & !0xfff & 0x000f_ffff_ffff_ffff;
        }
    }
    assert!(spare <= gpa + (PAGES + 3) * 0x1000, "tables enough");
}

fn destroy(guest: &mut Guest) {
    let expected = guest.expected.clone();
    let block = expected.kdbg.unwrap();
    guest.write_va(block.va, &vec![0xd5; block.plain.len()]);
    for head in [
        expected.ps_loaded_module_list,
        expected.ps_active_process_head,
    ] {
        guest.write_va(head, &[0xd5; 16]);
    }
    let shared = if expected.arch.is_64() {
        0xffff_f780_0000_0000
    } else {
        0xffdf_0000
    };
    guest.write_va(shared, &[0xd5; 0x1000]);
}
