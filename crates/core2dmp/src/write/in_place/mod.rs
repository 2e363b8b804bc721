//! Changes a file in place, and undoes that.
//!
//! ```text
//! patch    a dump gets the changes of a repair
//! reshape  a core becomes its dump, and the core again
//! ```

mod patch;
pub mod reshape;

pub use patch::{apply, undo, undo_path};
