//! Changing a file where it is, and undoing that.
//!
//! ```text
//! patch    a dump gets the changes of a repair
//! reshape  a core becomes its dump, and the core again
//! ```

mod patch;
pub mod reshape;

pub use patch::{apply, undo, undo_path};
