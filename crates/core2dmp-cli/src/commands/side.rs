//! One of the two files that `diff` compares: its header, and the memory behind it.
//!
//! ```text
//! dump, or the first bytes of one   its own header
//! core                              the header that `convert` would write
//! ```

use std::path::Path;

use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::{self, PlanOptions};

use super::{open_core, open_if_dump};
use crate::interrupt::Interrupt;
use crate::message::Failure;

/// A file.
#[derive(Debug)]
pub(super) struct Side {
    /// As it was given.
    pub(super) name: String,
    /// What was compared, in words.
    pub(super) what: &'static str,
    /// What stands behind the header, if anything does that is known.
    pub(super) body: Option<String>,
    /// Whether the type is that of the body.
    pub(super) type_fits: bool,
    pub(super) header: Vec<u8>,
    pub(super) guest: Guest,
}

impl Side {
    /// Reads what there is to compare.
    pub(super) fn open(path: &Path, interrupt: &Interrupt) -> Result<Self, Failure> {
        let name = path.to_string_lossy().into_owned();
        if let Some(dump) = open_if_dump(path)? {
            return Ok(Self {
                name,
                what: "its header",
                body: body(&dump),
                type_fits: dump.body_agrees(),
                guest: dump.guest(),
                header: dump.header,
            });
        }
        let (guest, windows) = open_core(path, interrupt)?;
        let plan = dump::plan(&guest, &windows, &PlanOptions::default())?;
        Ok(Self {
            name,
            what: "the header that convert would write",
            body: None,
            type_fits: true,
            header: plan.header().to_vec(),
            guest,
        })
    }
}

/// What the bytes behind the header are, whatever the header says.
fn body(dump: &DumpFile) -> Option<String> {
    let guess = dump.guess_body();
    let kind = guess.dump_type()?;
    Some(format!("{}, which is type {kind}", guess.name()))
}
