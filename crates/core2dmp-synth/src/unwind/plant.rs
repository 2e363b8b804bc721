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
    let mut scene = Scene::new(guest, context);
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
    for (driver, function) in [
        (&mut disk, &thread),
        (&mut tcpip, &pushes),
        (&mut xenpci, &framed),
    ] {
        scene.call(guest, driver, function);
    }
    scene.grow(0x50);
    scene.split(guest, &mut tcpip);
    let rip = scene.interrupted(guest, &mut xenpci);
    let handler = scene.handler(guest, &mut disk, rip);
    for driver in [disk, tcpip, xenpci] {
        driver.finish(guest);
    }
    scene.finish(guest, context, handler)
}

/// A processor on its way down.
struct Scene {
    machine: Machine,
    /// Where the next function returns to.
    back: u64,
    frames: Vec<(u64, u64)>,
}

impl Scene {
    /// With the registers of a context, its stack aligned.
    fn new(guest: &Guest, context: u64) -> Self {
        let mut machine = Machine::default();
        for (register, at) in machine
            .gpr
            .iter_mut()
            .zip((context + CONTEXT_RAX..).step_by(8))
        {
            let bytes = guest.read_va(at, 8).expect("a context");
            *register = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        machine.gpr[4] &= !0xf;
        Self {
            machine,
            back: 0,
            frames: Vec::new(),
        }
    }

    fn stands_at(&mut self, rip: u64) {
        self.frames.push((rip, self.machine.gpr[4]));
    }

    /// Calls a function, up to its own call.
    fn call(&mut self, guest: &mut Guest, driver: &mut Driver, function: &Function) {
        let at = driver.add(guest, &function.code(), &function.info().bytes());
        self.machine.push(self.back);
        for instruction in &function.prolog {
            self.machine.execute(*instruction);
        }
        self.back = at + prolog_bytes(function) + 5;
        self.stands_at(self.back);
        self.machine.execute(Insn::Use(3, 0x33));
    }

    /// The stack grows later in a function with a frame register.
    fn grow(&mut self, bytes: u32) {
        self.machine.execute(Insn::Sub(bytes));
        self.frames.last_mut().expect("frames").1 = self.machine.gpr[4];
    }

    /// A function whose second part is elsewhere.
    fn split(&mut self, guest: &mut Guest, driver: &mut Driver) {
        let split = body(vec![Insn::Push(6), Insn::Sub(0x40)]);
        let info_at = XDATA as u32 + driver.xdata.len() as u32;
        let hot = driver.add(guest, &split.code(), &split.info().bytes());
        let hot_rva = (hot - driver.base) as u32;
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
        let cold = driver.add(guest, &cold_code, &cold.bytes());
        self.machine.push(self.back);
        for instruction in split.prolog.iter().chain(&[Insn::Save(12, 0x30)]) {
            self.machine.execute(*instruction);
        }
        self.machine.execute(Insn::Use(12, 0x12));
        self.back = cold + 10;
        self.stands_at(self.back);
    }

    /// Interrupted when one register had been pushed; returns where.
    fn interrupted(&mut self, guest: &mut Guest, driver: &mut Driver) -> u64 {
        let function = body(vec![Insn::Push(15), Insn::Push(13), Insn::Sub(0x30)]);
        let at = driver.add(guest, &function.code(), &function.info().bytes());
        self.machine.push(self.back);
        self.machine.execute(function.prolog[0]);
        let rip = at + function.prolog[0].bytes().len() as u64;
        self.stands_at(rip);
        rip
    }

    /// A handler behind a machine frame; returns where the processor is in it.
    fn handler(&mut self, guest: &mut Guest, driver: &mut Driver, rip: u64) -> u64 {
        let info = Info {
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
        let handler = driver.add(guest, &code, &info.bytes());
        let rsp = self.machine.gpr[4];
        self.machine.gpr[4] &= !0xf;
        for word in [0x18, rsp, 0x10246, 0x10, rip, 2] {
            self.machine.push(word);
        }
        self.machine.execute(Insn::Push(5));
        self.machine.execute(Insn::Sub(0x60));
        self.stands_at(handler + 8);
        handler + 8
    }

    /// Writes the stack, and the registers into the context.
    fn finish(mut self, guest: &mut Guest, context: u64, rip: u64) -> Planted {
        for (at, word) in &self.machine.stack {
            guest.write_va(*at, &word.to_le_bytes());
        }
        let registers = self.machine.gpr.iter().copied().chain([rip]);
        for (register, at) in registers.zip((context + CONTEXT_RAX..).step_by(8)) {
            guest.write_va(at, &register.to_le_bytes());
        }
        self.frames.reverse();
        Planted {
            frames: self.frames,
        }
    }
}
