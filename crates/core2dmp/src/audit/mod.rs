//! Compares a dump's header with the memory behind it.
//!
//! ```text
//! check        would the debugger open it, and what would it say
//! against      every page of a dump against the core that it was made of
//! diff         two headers, field by field
//! repair       the changes that make a header agree with its memory
//! provenance   each header field of a planned dump with its source
//! fields       the table behind all of them: what each field is worth
//! ```

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod against;
pub mod check;
pub mod diff;
mod fields;
mod overlay;
mod provenance;
pub mod repair;

pub use against::{AgainstCore, against_core};
pub use fields::RejectedValue;
pub use provenance::{FieldFact, field_facts};
