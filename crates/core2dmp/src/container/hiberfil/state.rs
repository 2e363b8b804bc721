//! What the first page reveals about the file: hibernated, resumed since, a link to another file, or wiped.

use crate::error::{Error, Remedy, Result};
use crate::format::hiberfil::signature;
use crate::source::{ReadAt, fill_at, hole_at};

/// The longest name in a link that is shown.
const LINK_NAME: usize = 260;
/// A file of zeros that is smaller is nothing that anybody would take for memory.
const SMALLEST: u64 = 1 << 20;
/// Bytes that are looked at together when all are expected to be zero.
const SCANNED: usize = 1 << 20;

/// Where in its life the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Hibernated,
    Special,
    Resumed,
    Restoring,
    Link,
    /// The first page is zeros.
    Wiped,
}

impl State {
    /// By the first page; `None` if it is none of a hibernation file.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let tag = head.first_chunk::<4>()?;
        let known = [
            (signature::HIBERNATED, Self::Hibernated),
            (signature::SPECIAL, Self::Special),
            (signature::RESUMED, Self::Resumed),
            (signature::RESTORING, Self::Restoring),
            (signature::LINK, Self::Link),
        ];
        let state = known
            .iter()
            .find(|(tags, _)| tags.contains(&tag))
            .map(|(_, state)| *state);
        match state {
            // Any text may begin so.
            Some(Self::Link) => link_name(head).is_some().then_some(Self::Link),
            None if head.iter().all(|byte| *byte == 0) => Some(Self::Wiped),
            state => state,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hibernated => "hibernated",
            Self::Special => "hibernated, for more than one resume or with a breakpoint",
            Self::Resumed => "resumed since",
            Self::Restoring => "a resume was begun and not ended",
            Self::Link => "a link",
            Self::Wiped => "the first page is zeros",
        }
    }

    /// What the user should know.
    pub(super) const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Hibernated | Self::Special | Self::Link => None,
            Self::Resumed => Some(
                "the machine was resumed or started after it wrote this file: the memory is that of the last hibernation, and parts of it may have been overwritten since",
            ),
            Self::Restoring => Some(
                "a resume from this file was begun and not ended: the memory is that of the hibernation before",
            ),
            Self::Wiped => Some(
                "the first page is zeros: the machine was resumed since, and the memory is that of the last hibernation; parts of it may have been overwritten",
            ),
        }
    }

    /// A link holds nothing but the name of the true file.
    pub(super) fn refuse_link(self, head: &[u8]) -> Result<()> {
        match link_name(head).filter(|_| self == Self::Link) {
            None => Ok(()),
            Some(name) => Err(Error::NoMemory {
                what: "this hibernation file",
                found: format!("it is a link to \"{name}\""),
                remedy: Remedy::GiveLinkTarget,
            }),
        }
    }
}

/// The name in a link, escaped: an ARC path such as `multi(0)disk(0)rdisk(0)partition(2)\hiberfil.sys`.
fn link_name(head: &[u8]) -> Option<String> {
    let rest = head.get(4..)?;
    let name = rest.split(|byte| *byte == 0).next()?;
    let name = name.get(..name.len().min(LINK_NAME))?;
    let small = name.to_ascii_lowercase();
    let is_name = small.windows(8).any(|part| part == b"hiberfil");
    is_name.then(|| name.escape_ascii().to_string())
}

/// Whether no byte of the file is set. Reads up to the first that is.
pub(super) fn is_all_zeros(source: &dyn ReadAt) -> bool {
    let mut buffer = vec![0; SCANNED];
    let mut at = 0_u64;
    while at < source.size() {
        let hole = hole_at(source, at);
        if hole > 0 {
            at = at.saturating_add(hole);
            continue;
        }
        let Ok(read @ 1..) = fill_at(source, at, &mut buffer) else {
            return false;
        };
        let bytes = buffer.get(..usize::try_from(read).unwrap_or(0));
        if bytes.unwrap_or_default().iter().any(|byte| *byte != 0) {
            return false;
        }
        at = at.saturating_add(read);
    }
    at >= SMALLEST
}
