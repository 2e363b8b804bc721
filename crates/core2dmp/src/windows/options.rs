//! What a caller adds to the search for Windows.

use super::headers::{GivenHeader, HeaderSearch};

/// What the caller adds to the search.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct IdentifyOptions {
    /// Headers to weigh besides those in memory.
    pub headers: Vec<GivenHeader>,
    /// Where headers are searched in memory.
    pub header_search: HeaderSearch,
    /// Which kernel is meant where there are several: its base, or the root of its page tables.
    pub kernel: Option<u64>,
}

impl IdentifyOptions {
    /// Sets [`headers`](Self#structfield.headers).
    #[must_use]
    pub fn headers(mut self, headers: Vec<GivenHeader>) -> Self {
        self.headers = headers;
        self
    }

    /// Sets [`kernel`](Self#structfield.kernel).
    #[must_use]
    pub const fn kernel(mut self, kernel: Option<u64>) -> Self {
        self.kernel = kernel;
        self
    }

    /// Sets [`header_search`](Self#structfield.header_search).
    #[must_use]
    pub fn header_search(mut self, header_search: HeaderSearch) -> Self {
        self.header_search = header_search;
        self
    }
}
