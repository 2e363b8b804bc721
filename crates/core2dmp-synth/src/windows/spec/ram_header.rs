//! The dump header in the guest's memory that a specification asks for.

/// The kinds of headers in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gplpv,
    Fwcfg,
    Windows,
}

/// A dump header in guest memory. By default all its fields are those of this boot.
#[derive(Clone, Debug)]
pub struct RamHeader {
    pub(crate) kind: Kind,
    pub(crate) stale: bool,
    pub(crate) page_offset: u16,
    pub(crate) dump_type: Option<u32>,
    pub(crate) dtb: Option<u64>,
    pub(crate) runs: Option<Vec<(u64, u64)>>,
    pub(crate) required_space: Option<u64>,
    pub(crate) bugcheck: Option<(u32, [u64; 4])>,
    pub(crate) kdbg: Option<u64>,
}

impl RamHeader {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            stale: false,
            page_offset: 0,
            dump_type: None,
            dtb: None,
            runs: None,
            required_space: None,
            bugcheck: None,
            kdbg: None,
        }
    }

    /// As GPLPV's xenpci driver keeps it.
    #[must_use]
    pub fn gplpv() -> Self {
        Self::new(Kind::Gplpv)
    }

    /// As virtio-win's fwcfg driver keeps it, with a decoded KDBG copy beside it.
    #[must_use]
    pub fn fwcfg() -> Self {
        Self::new(Kind::Fwcfg)
    }

    /// As Windows itself keeps it: alone, page-aligned.
    #[must_use]
    pub fn windows() -> Self {
        Self::new(Kind::Windows)
    }

    /// A header of another boot: dump type 2, and wrong page tables, runs, space, times and PFN database; where the
    /// kernel moves between boots, also wrong list heads and KDBG.
    #[must_use]
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// How far into its page the buffer begins (GPLPV).
    #[must_use]
    pub fn page_offset(mut self, bytes: u16) -> Self {
        self.page_offset = bytes;
        self
    }

    /// Overrides DumpType.
    #[must_use]
    pub fn dump_type(mut self, value: u32) -> Self {
        self.dump_type = Some(value);
        self
    }

    /// Overrides DirectoryTableBase.
    #[must_use]
    pub fn dtb(mut self, value: u64) -> Self {
        self.dtb = Some(value);
        self
    }

    /// Overrides the runs.
    #[must_use]
    pub fn runs(mut self, runs: Vec<(u64, u64)>) -> Self {
        self.runs = Some(runs);
        self
    }

    /// Overrides RequiredDumpSpace.
    #[must_use]
    pub fn required_space(mut self, bytes: u64) -> Self {
        self.required_space = Some(bytes);
        self
    }

    /// Overrides stop code and parameters.
    #[must_use]
    pub fn bugcheck(mut self, code: u32, parameters: [u64; 4]) -> Self {
        self.bugcheck = Some((code, parameters));
        self
    }

    /// Overrides KdDebuggerDataBlock.
    #[must_use]
    pub fn kdbg(mut self, va: u64) -> Self {
        self.kdbg = Some(va);
        self
    }
}
