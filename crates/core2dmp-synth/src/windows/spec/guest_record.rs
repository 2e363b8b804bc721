//! The guest record that a specification asks for.

/// A guest record. By default it is of this boot, and of its bug check if the guest is stopped by one.
#[derive(Clone, Debug, Default)]
pub struct GuestRecord {
    pub(crate) stale: bool,
    pub(crate) state: Option<u32>,
    pub(crate) without_block: bool,
    pub(crate) above: bool,
}

impl GuestRecord {
    /// As the driver of this boot leaves it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One of another boot: its page is mapped nowhere, its headers are stale.
    #[must_use]
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// How far the driver came: 1 boot, 2 refreshing, 3 refreshed, 4 failed.
    #[must_use]
    pub fn state(mut self, state: u32) -> Self {
        self.state = Some(state);
        self
    }

    /// Windows could not decode its block.
    #[must_use]
    pub fn without_block(mut self) -> Self {
        self.without_block = true;
        self
    }

    /// In high memory, where a search of low memory does not find it.
    #[must_use]
    pub fn high(mut self) -> Self {
        self.above = true;
        self
    }
}
