//! Whether, how and when the host is notified of the bug check: only if the service's parameters ask for it.
//!
//! ```text
//! first callback   pvpanic: "crash loaded"  (a dump is about to be written)
//! plain callback   pvpanic: "panicked", then Xen: SCHEDOP_shutdown(crash)
//! ```
//!
//! The plain callback runs when Windows has written its dump, so a host that destroys the guest then costs nothing.
//! Hyper-V's crash registers are not touched: Windows writes them itself. Bits of pvpanic: QEMU's
//! docs/specs/pvpanic.rst; the order is that of virtio-win's driver.

use core::sync::atomic::{AtomicU32, Ordering};

/// Bits of pvpanic's port, both to write and in what it answers to a read.
const PANICKED: u8 = 1;
const CRASH_LOADED: u8 = 2;
/// What a port answers that nothing is behind.
const NO_DEVICE: u8 = 0xff;

/// What the service's parameters ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// pvpanic's port, 0x505 in QEMU; 0 for none.
    pub pvpanic_port: u16,
    /// Whether Xen is notified.
    pub xen: bool,
}

/// Something to tell the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Write the byte to the port.
    Port(u16, u8),
    /// `SCHEDOP_shutdown` with reason crash.
    XenCrash,
}

/// Tells each word once, whoever comes first.
#[derive(Debug)]
pub struct Teller {
    settings: Settings,
    features: u8,
    told: AtomicU32,
}

impl Teller {
    /// `features` is what pvpanic's port answers to a read, `is_xen` whether the hypervisor names itself so.
    #[must_use]
    pub const fn new(settings: Settings, features: u8, is_xen: bool) -> Self {
        Self {
            settings: Settings {
                pvpanic_port: settings.pvpanic_port,
                xen: settings.xen && is_xen,
            },
            features: if features == NO_DEVICE { 0 } else { features },
            told: AtomicU32::new(0),
        }
    }

    /// A bug check began.
    #[must_use]
    pub fn begun(&self) -> Option<Word> {
        self.port(CRASH_LOADED)
    }

    /// Windows is done with its dump.
    #[must_use]
    pub fn ended(&self) -> [Option<Word>; 2] {
        let xen = self.settings.xen && self.first(1 << 8);
        [self.port(PANICKED), xen.then_some(Word::XenCrash)]
    }

    fn port(&self, bit: u8) -> Option<Word> {
        let port = self.settings.pvpanic_port;
        let asked = port != 0 && self.features & bit != 0;
        (asked && self.first(u32::from(bit))).then_some(Word::Port(port, bit))
    }

    fn first(&self, bit: u32) -> bool {
        self.told.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }
}
