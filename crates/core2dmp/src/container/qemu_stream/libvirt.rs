//! The header of `virsh save` and of managed saves, in front of the stream.

use zerocopy::FromBytes;

use crate::error::{Error, Place, Result};
use crate::format::qemu_stream::{LIBVIRT_FORMATS, LIBVIRT_MAGIC, LIBVIRT_PARTIAL, LibvirtHeader};
use crate::source::{ReadAt, read_exact_at};

const WHAT: &str = "header of libvirt";

pub(super) fn probe(head: &[u8]) -> bool {
    head.starts_with(&LIBVIRT_MAGIC) || head.starts_with(&LIBVIRT_PARTIAL)
}

/// Where the stream begins, and what to tell the user.
pub(super) fn stream_at(source: &dyn ReadAt, warnings: &mut Vec<String>) -> Result<u64> {
    let mut raw = [0; size_of::<LibvirtHeader>()];
    read_exact_at(source, 0, &mut raw, WHAT)?;
    let place = Place::Offset(0);
    let header = LibvirtHeader::read_from_bytes(&raw)
        .map_err(|_| Error::malformed(WHAT, place, "92 bytes", "fewer"))?;
    // Written by a host of the other byte order: no host of x86.
    let version = header.version.get();
    if !(1..=3).contains(&version) {
        return Err(Error::malformed(
            WHAT,
            place,
            "version 1 to 3",
            version.to_string(),
        ));
    }
    if header.magic == LIBVIRT_PARTIAL {
        warnings.push("libvirt had not finished writing: \"LibvirtQemudPart\"".to_owned());
    }
    let format = usize::try_from(header.format.get()).unwrap_or(usize::MAX);
    match LIBVIRT_FORMATS.get(format) {
        Some(&("raw" | "sparse")) => {}
        Some(program) => {
            let expected = "a stream that is not compressed";
            let found = format!(
                "{program}: cut off {} bytes and unpack the rest with {program}",
                behind(&header)
            );
            return Err(Error::malformed(
                "stream of libvirt",
                Place::Offset(behind(&header)),
                expected,
                found,
            ));
        }
        None => {
            let expected = "a format below 7";
            return Err(Error::malformed(WHAT, place, expected, format.to_string()));
        }
    }
    Ok(behind(&header))
}

fn behind(header: &LibvirtHeader) -> u64 {
    (size_of::<LibvirtHeader>() as u64).saturating_add(u64::from(header.data_bytes.get()))
}
