//! Compression of Microsoft's that no library reads: Xpress (MS-XCA) and LZNT1.

pub(crate) mod lznt1;
pub(crate) mod xpress;
