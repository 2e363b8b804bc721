//! A dump's header against the memory behind it.
//!
//! ```text
//! check    would the debugger open it, and what would it say
//! diff     two headers, field by field
//! repair   the changes that make a header agree with its memory
//! facts    each header field of a planned dump with its source
//! ```

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod check;
pub mod diff;
mod facts;
pub mod repair;

pub use facts::{FieldFact, RejectedValue, field_facts};
