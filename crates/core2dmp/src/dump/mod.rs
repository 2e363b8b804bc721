//! The dump as data: what its file will hold, before it is written.
//!
//! ```text
//! Guest + Windows  --plan-->  Plan { header | segment | segment | ... }
//!                             Bytes: header, patched pages
//!                             Source: bytes of the container, copied by the kernel
//!                             Zeros: frames that are zero, or that the container lacks (reported)
//! ```
//!
//! DumpType, RequiredDumpSpace and the runs come from the body that is planned here, never from a header that
//! was found somewhere. The source is not changed: pages that have to differ (the debugger data block, which
//! the debugger wants plain) are copied and patched in the plan.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub(crate) mod header;
pub(crate) mod patch;
pub(crate) mod plan;
mod planned;

pub use patch::Patch;
pub use plan::{HeaderRoot, plan, plan_with};
pub use planned::{DumpKind, Keep, Missing, Plan, PlanOptions};
