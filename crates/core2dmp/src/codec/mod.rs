//! Microsoft's compression formats that no suitable crate decodes (Xpress and LZNT1), and the cache of decoded blocks.

pub(crate) mod block_cache;
pub(crate) mod lznt1;
pub(crate) mod xpress;
