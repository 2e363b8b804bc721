//! What precedes the image of libxc: the header of xl or of libvirt, and the stream of libxl.

use zerocopy::FromBytes;

use crate::error::{Error, Place, Result};
use crate::format::bytes_at;
use crate::format::xen_save::{
    BIG_ENDIAN, LIBVIRT_MAGIC, LIBXL_MAGIC, LIBXL_VERSION, LibvirtHeader, XL_BYTE_ORDER, XL_JSON,
    XL_MAGIC, XL_STREAM_2, XlHeader, libxl,
};
use crate::source::{ReadAt, fill_at, read_exact_at};

/// Records of libxl in front of the image; there is none, as a rule.
const MAX_RECORDS: u32 = 1024;

/// Where the image of libxc is, and who wrapped it.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) at: u64,
    pub(super) wrapped: &'static str,
}

pub(super) fn image(source: &dyn ReadAt) -> Result<Image> {
    let mut head = [0; 32];
    fill_at(source, 0, &mut head).map_err(|e| Error::io("cannot read the file", e))?;
    let (at, wrapped) = if head.starts_with(&XL_MAGIC) {
        (behind_xl(source)?, "xl")
    } else if head.starts_with(&LIBVIRT_MAGIC) {
        (behind_libvirt(source)?, "libvirt")
    } else if head.starts_with(&LIBXL_MAGIC) {
        (0, "libxl")
    } else {
        return Ok(Image {
            at: 0,
            wrapped: "nobody",
        });
    };
    let at = behind_libxl(source, at)?;
    Ok(Image { at, wrapped })
}

/// The images of before Xen 4.6.
fn legacy(what: &'static str, place: Place, found: &str) -> Error {
    Error::malformed(
        what,
        place,
        "a stream of Xen 4.6 or later",
        format!("{found}: convert it with Xen's convert-legacy-stream"),
    )
}

fn behind_xl(source: &dyn ReadAt) -> Result<u64> {
    const WHAT: &str = "header of xl";
    let mut raw = [0; size_of::<XlHeader>()];
    read_exact_at(source, 0, &mut raw, WHAT)?;
    let place = Place::Offset(0);
    let header = XlHeader::read_from_bytes(&raw)
        .map_err(|_| Error::malformed(WHAT, place, "48 bytes", "fewer"))?;
    if header.byte_order.get() != XL_BYTE_ORDER {
        let found = format!("{:#x}", header.byte_order);
        return Err(Error::malformed(
            WHAT,
            place,
            format!("byte order {XL_BYTE_ORDER:#x}"),
            found,
        ));
    }
    let flags = header.mandatory.get();
    if flags & !(XL_JSON | XL_STREAM_2) != 0 {
        let found = format!("{flags:#x}");
        return Err(Error::malformed(
            WHAT,
            place,
            "mandatory flags 1 and 2",
            found,
        ));
    }
    if flags & XL_STREAM_2 == 0 {
        return Err(legacy(WHAT, place, "one of Xen 4.5 or earlier"));
    }
    Ok((raw.len() as u64).saturating_add(u64::from(header.optional_bytes.get())))
}

fn behind_libvirt(source: &dyn ReadAt) -> Result<u64> {
    const WHAT: &str = "header of libvirt";
    let mut raw = [0; size_of::<LibvirtHeader>()];
    read_exact_at(source, 0, &mut raw, WHAT)?;
    let place = Place::Offset(0);
    let header = LibvirtHeader::read_from_bytes(&raw)
        .map_err(|_| Error::malformed(WHAT, place, "64 bytes", "fewer"))?;
    match header.version.get() {
        2 => Ok((raw.len() as u64).saturating_add(u64::from(header.xml_bytes.get()))),
        1 => Err(legacy(WHAT, place, "version 1")),
        other => Err(Error::malformed(
            WHAT,
            place,
            "version 2",
            other.to_string(),
        )),
    }
}

fn behind_libxl(source: &dyn ReadAt, start: u64) -> Result<u64> {
    const WHAT: &str = "header of libxl";
    const RECORD: &str = "record of libxl";
    let mut raw = [0; 16];
    read_exact_at(source, start, &mut raw, WHAT)?;
    let place = Place::Offset(start);
    let number = |at| bytes_at(&raw, at).map_or(0, u32::from_be_bytes);
    let (version, options) = (number(8), number(12));
    if !raw.starts_with(&LIBXL_MAGIC) || version != LIBXL_VERSION {
        let magic = bytes_at::<8>(&raw, 0).unwrap_or_default();
        let found = format!("\"{}\" version {version}", magic.escape_ascii());
        return Err(Error::malformed(WHAT, place, "LibxlFmt version 2", found));
    }
    if options & BIG_ENDIAN != 0 {
        return Err(Error::malformed(
            WHAT,
            place,
            "little-endian records",
            "big-endian",
        ));
    }
    let mut at = start.saturating_add(16);
    for _ in 0..MAX_RECORDS {
        let mut record = [0; 8];
        read_exact_at(source, at, &mut record, RECORD)?;
        let [kind, bytes] = [0, 4].map(|at| bytes_at(&record, at).map_or(0, u32::from_le_bytes));
        let data = at.saturating_add(8);
        if kind == libxl::LIBXC_CONTEXT {
            return Ok(data);
        }
        let is_known = kind != libxl::END && kind < libxl::UNKNOWN;
        if !is_known && kind >> 31 == 0 {
            let found = if kind == libxl::END {
                "the end".to_owned()
            } else {
                format!("{kind:#x}")
            };
            let expected = "LIBXC_CONTEXT, the guest's memory";
            return Err(Error::malformed(RECORD, Place::Offset(at), expected, found));
        }
        at = data.saturating_add(u64::from(bytes).next_multiple_of(8));
    }
    let found = format!("{MAX_RECORDS} records without it");
    Err(Error::malformed(
        RECORD,
        place,
        "LIBXC_CONTEXT, the guest's memory",
        found,
    ))
}
