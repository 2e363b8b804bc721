//! One of the two files that `diff` compares: its header, and the memory behind it.
//!
//! ```text
//! dump, or the first bytes of one   its own header
//! core                              the header that `convert` would write
//! ```

use core2dmp::OpenOptions;
use core2dmp::audit::diff::Behind;
use core2dmp::container::Guest;
use core2dmp::container::dmp::DumpFile;
use core2dmp::dump::{self, PlanOptions};

use crate::message::Failure;
use crate::progress::Bar;
use crate::request::Source;

/// A file that is compared.
#[derive(Debug)]
pub(super) struct Compared {
    /// As it was given.
    pub(super) name: String,
    /// What was compared, in words.
    pub(super) what: &'static str,
    /// What stands behind the header, if anything does that is known.
    pub(super) body: Option<String>,
    /// The body that the header names, if it is of that type.
    pub(super) behind: Option<Behind>,
    pub(super) header: Vec<u8>,
    pub(super) guest: Guest,
}

impl Compared {
    /// Reads what there is to compare.
    pub(super) fn open(source: &Source, bar: &Bar) -> Result<Self, Failure> {
        let name = source.given.clone();
        let mut opened = source.files.clone().open(&OpenOptions::default(), bar)?;
        if let Some(dump) = opened.dump {
            return Ok(Self {
                name,
                what: "its header",
                body: body(&dump),
                behind: Behind::of(&dump),
                guest: opened.guest,
                header: dump.header,
            });
        }
        let windows = opened.identify()?;
        let plan = dump::plan(&opened.guest, &windows, &PlanOptions::default())?;
        Ok(Self {
            name,
            what: "the header that convert would write",
            body: None,
            behind: Some(Behind {
                dump_type: Some(plan.dump_type.into()),
                is_read_whole: true,
                block: None,
            }),
            header: plan.header().to_vec(),
            guest: opened.guest,
        })
    }
}

/// What the bytes behind the header are, whatever the header says.
fn body(dump: &DumpFile) -> Option<String> {
    let guess = dump.guess_body();
    let kind = guess.dump_type()?;
    Some(format!("{}, which is type {kind}", guess.name()))
}
