//! One file per command.

mod changes;
pub(crate) mod check;
mod compared;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod in_place;
pub(crate) mod info;
mod leftovers;
pub(crate) mod repair;

use core2dmp::OpenOptions;
use core2dmp::container::{self, Guest};
use core2dmp::open;
use core2dmp::windows::{HeaderSearch, IdentifyOptions, Windows};

use crate::message::Failure;
use crate::progress::Bar;
use crate::request::{Reading, Source};

/// How the files of a guest are opened.
fn open_options(reading: &Reading, header_search: HeaderSearch) -> Result<OpenOptions, Failure> {
    let mut options = OpenOptions::default();
    options.container = container::OpenOptions::default()
        .salvage(reading.salvage)
        .holes(reading.holes.clone())
        .format(reading.format.clone());
    let headers = reading.headers.iter().map(|path| open::header(path));
    options.identify = IdentifyOptions::default()
        .headers(headers.collect::<Result<_, _>>()?)
        .header_search(header_search)
        .kernel(reading.kernel);
    Ok(options)
}

/// Opens a guest, and looks for Windows: as `convert` does.
fn open_core(source: &Source, bar: &Bar) -> Result<(Guest, Windows), Failure> {
    let mut opened = source.files.clone().open(&OpenOptions::default(), bar)?;
    let found = opened.identify()?;
    Ok((opened.guest, found))
}
