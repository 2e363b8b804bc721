//! A body whose pages a bitmap names.

use zerocopy::{FromZeros, IntoBytes};

use super::{PatchedPages, Plan, pages};
use crate::address::PAGE_SIZE;
use crate::container::Guest;
use crate::error::{Error, Result};
use crate::format::bitmap::{BITMAP_BYTES, BitmapHeader, TAG_DUMP, TAG_FULL, TAG_SUMMARY};
use crate::format::dump_values::DUMP_TYPE_BITMAP_KERNEL;
use crate::memory::Frames;

/// Frames that a bitmap may name: 8 TiB of addresses, 256 MiB of bitmap.
const MAX_BITS: u64 = 1 << 31;
/// A multiple of this many bits: LeechCore leaves out the last bits of a bitmap that is none (seen in its device for
/// dumps, 2026).
const BITS_MULTIPLE: u64 = 64;

/// Appends the bitmap and the pages of `wanted` that the container has; counts those that it lacks.
pub(super) fn body(
    plan: &mut Plan,
    guest: &Guest,
    wanted: &[Frames],
    patches: &PatchedPages,
) -> Result<()> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable_by_key(|run| run.first);
    // Up to Windows' highest frame: beyond the bitmap the debugger complains, instead of finding nothing.
    let all = wanted.iter().chain(&plan.runs);
    let bits = all.map(|run| run.end().get()).max().unwrap_or(0);
    let bits = bits.next_multiple_of(BITS_MULTIPLE);
    if bits > MAX_BITS {
        return Err(Error::TooMany {
            what: "frames up to the highest, for a bitmap",
            found: bits,
            limit: MAX_BITS,
        });
    }
    // The bitmap with its header and what fills its last page: one piece, in place, as a copy would be as large as the
    // largest.
    let bytes = head_bytes(plan.image.size(), bits);
    let head = plan.image.reserve(usize::try_from(bytes).unwrap_or(0));
    let first_page = plan.image.size();
    for run in wanted {
        for (piece, backing) in guest.memory.pieces(run) {
            if backing.is_some() {
                set(plan.image.bytes_mut(head), piece);
            }
            pages::present_or_not(plan, piece, backing, patches);
        }
    }
    let header = header(plan, bits, first_page);
    if let Some(place) = plan
        .image
        .bytes_mut(head)
        .get_mut(..size_of::<BitmapHeader>())
    {
        place.copy_from_slice(header.as_bytes());
    }
    Ok(())
}

/// Bytes from `at` to the first page, which is on a page boundary, so that file systems can share it.
const fn head_bytes(at: u64, bits: u64) -> u64 {
    let end = at.saturating_add(BITMAP_BYTES).saturating_add(bits / 8);
    end.next_multiple_of(PAGE_SIZE).saturating_sub(at)
}

/// Sets the bits of these frames in a bitmap with its header: bit n, the lowest of a byte first, is frame n.
fn set(head: &mut [u8], frames: Frames) {
    let (first, end) = (frames.first.get(), frames.end().get());
    let mut at = first;
    while at < end {
        let whole = at.is_multiple_of(8) && end.saturating_sub(at) >= 8;
        let byte = usize::try_from(BITMAP_BYTES.saturating_add(at / 8)).ok();
        if let Some(byte) = byte.and_then(|byte| head.get_mut(byte)) {
            *byte |= if whole { 0xff } else { 1 << (at % 8) };
        }
        at = at.saturating_add(if whole { 8 } else { 1 });
    }
}

fn header(plan: &Plan, bits: u64, first_page: u64) -> BitmapHeader {
    let mut header = BitmapHeader::new_zeroed();
    header.tag = if plan.dump_type == DUMP_TYPE_BITMAP_KERNEL {
        TAG_SUMMARY
    } else {
        TAG_FULL
    };
    header.second_tag = TAG_DUMP;
    header.first_page.set(first_page);
    header.present_pages.set(plan.frames);
    header.bits.set(bits);
    header
}
