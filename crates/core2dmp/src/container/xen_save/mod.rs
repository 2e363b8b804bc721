//! Xen's saved domains: `xl save`, `virsh save` on Xen, the stream of libxl, or the image of libxc alone.
//!
//! ```text
//! [header of xl or libvirt] -> [stream of libxl] -> image of libxc -> pages: the last of a frame counts  -> runs
//!                                                                  -> Xen's context                      -> vCPUs
//! ```
//!
//! See docs/formats/xen-save.md, and `format/xen_save.rs` for the sources.

mod context;
mod headers;
mod records;

use std::sync::Arc;

use zerocopy::FromBytes;

use self::records::Records;
use super::salvage::{Salvage, as_cut_short};
use super::{ContainerInfo, CpuState, Guest, Hints, OpenOptions, Probe};
use crate::address::{PAGE_SIZE, Pfn};
use crate::error::{Error, Place, Result};
use crate::format::bytes_at;
use crate::format::xen::{SKIPPED_MMIO, SKIPPED_VGA};
use crate::format::xen_save::{
    BIG_ENDIAN, DomainHeader, LIBVIRT_MAGIC, LIBXC_MAGIC, LIBXC_VERSIONS, LIBXL_MAGIC, TYPE_HVM,
    TYPE_PV, XL_MAGIC,
};
use crate::memory::Frames;
use crate::source::{ReadAt, read_exact_at};

pub(super) const TITLE: &str = "Xen saved domain";
pub(super) const MAGICS: &[&[u8]] = &[&XL_MAGIC, &LIBVIRT_MAGIC, &LIBXL_MAGIC, &LIBXC_MAGIC];

/// Bytes of the image's and the domain's header.
const IMAGE_HEADER: u64 = 24;

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let size = source.size();
    let at_header = |error| as_cut_short(error, size, "all of the memory");
    let image = headers::image(&*source).map_err(at_header)?;
    let (version, domain) = domain(&*source, image.at).map_err(at_header)?;
    let first = image
        .at
        .saturating_add(IMAGE_HEADER)
        .saturating_add(size_of::<DomainHeader>() as u64);
    let mut records = Records::default();
    let read = records.read(&*source, first);
    let mut salvage = Salvage::new(options);
    salvage.accept_truncated(read, size, "the last records")?;
    let mut warnings = Vec::new();
    let cpus = cpus(&*source, &records, &mut warnings)?;
    if records.broken > 0 {
        warnings.push(format!(
            "{} pages were broken when the domain was saved",
            records.broken
        ));
    }
    if records.checkpoints > 0 {
        warnings.push(
            "the image has checkpoints: all of it was taken, the last of a page counts".to_owned(),
        );
    }
    let details = details(&image, version, &domain, &records);
    let all = [(0, Frames::new(Pfn::new(0), records.end))];
    Ok(Guest {
        container: ContainerInfo {
            format: "xen-save",
            title: TITLE,
            size,
            details,
            padding: 0,
            salvaged: salvage.done("image"),
            warnings,
        },
        memory: records.pages.memory(source, &all)?,
        cpus,
        hints: Hints {
            not_ram: [SKIPPED_VGA, SKIPPED_MMIO]
                .map(|(first, end)| Frames::between(Pfn::new(first), Pfn::new(end)))
                .to_vec(),
            ..Hints::default()
        },
    })
}

/// What the file says of itself.
fn details(
    image: &headers::Image,
    version: u32,
    domain: &DomainHeader,
    records: &Records,
) -> Vec<(&'static str, String)> {
    let mut details = vec![
        ("guest", "HVM or PVH".to_owned()),
        (
            "written by",
            format!("Xen {}.{}", domain.xen_major, domain.xen_minor),
        ),
        (
            "image",
            format!(
                "version {version} at {:#x}, wrapped by {}",
                image.at, image.wrapped
            ),
        ),
    ];
    if records.pages.again > 0 {
        details.push(("pages sent again", records.pages.again.to_string()));
    }
    if records.allocated > 0 {
        details.push((
            "pages without data",
            format!("{}: zeros", records.allocated),
        ));
    }
    details
}

/// The image's version, and the domain's header behind it.
fn domain(source: &dyn ReadAt, at: u64) -> Result<(u32, DomainHeader)> {
    const WHAT: &str = "header of libxc";
    let mut raw = [0; 24];
    read_exact_at(source, at, &mut raw, WHAT)?;
    let place = Place::Offset(at);
    let version = bytes_at(&raw, 12).map_or(0, u32::from_be_bytes);
    if !raw.starts_with(&LIBXC_MAGIC) || !LIBXC_VERSIONS.contains(&version) {
        let magic = bytes_at::<12>(&raw, 0).unwrap_or_default();
        let found = format!("\"{}\" version {version}", magic.escape_ascii());
        return Err(Error::malformed(
            WHAT,
            place,
            "the marker, XENF, version 2 or 3",
            found,
        ));
    }
    let options = bytes_at(&raw, 16).map_or(0, u16::from_be_bytes);
    if u32::from(options) & BIG_ENDIAN != 0 {
        return Err(Error::malformed(
            WHAT,
            place,
            "little-endian records",
            "big-endian",
        ));
    }
    let mut raw = [0; size_of::<DomainHeader>()];
    let at = at.saturating_add(IMAGE_HEADER);
    read_exact_at(source, at, &mut raw, WHAT)?;
    let place = Place::Offset(at);
    let header = DomainHeader::read_from_bytes(&raw)
        .map_err(|_| Error::malformed(WHAT, place, "16 bytes", "fewer"))?;
    let wrong = |expected: &str, found: String| Err(Error::malformed(WHAT, place, expected, found));
    match header.kind.get() {
        TYPE_HVM => {}
        TYPE_PV => {
            return wrong(
                "an HVM guest",
                "a PV guest, which is not Windows".to_owned(),
            );
        }
        other => return wrong("an HVM guest", format!("type {other:#x}")),
    }
    let shift = header.page_shift.get() & 0xffff;
    if 1_u64.checked_shl(shift) != Some(PAGE_SIZE) {
        return wrong("pages of 4096 bytes", format!("pages of 2^{shift} bytes"));
    }
    Ok((version, header))
}

fn cpus(
    source: &dyn ReadAt,
    records: &Records,
    warnings: &mut Vec<String>,
) -> Result<Vec<CpuState>> {
    let Some((at, bytes)) = records.context else {
        warnings.push("the image has no context of Xen: no registers".to_owned());
        return Ok(Vec::new());
    };
    match context::read(source, at, bytes, warnings) {
        Err(Error::Truncated { .. }) => {
            warnings.push("Xen's context is cut short: no registers".to_owned());
            Ok(Vec::new())
        }
        read => read,
    }
}
