//! The header of a dump whose pages a table of ranges names.
//!
//! ```text
//! count of ranges   decides: what it does not count is absent      the table and the file's size prove another
//! first page        decides                                        so
//! pages             compared with the file's size                  the sum of the ranges
//! marker, tags, metadata bytes                                     not checked
//! ```

use std::mem::offset_of;

use super::block::Damage;
use super::{Finding, Mend, Said, Severity, words};
use crate::address::PAGE_SIZE;
use crate::audit::overlay::Change;
use crate::container::dmp::{Body, DumpFile, RangesBody};
use crate::format::rdmp::{BYTES, MARKER, METADATA_START, Range, RangesHeader, SECOND_TAG, TAG};

/// What is wrong with the header of the ranges; nothing if the body is another.
pub(super) fn damage(dump: &DumpFile) -> Vec<Damage> {
    let Body::Ranges(body) = &dump.body else {
        return Vec::new();
    };
    let header = Header { dump, body };
    if let Some(cut) = header.cut() {
        return vec![cut];
    }
    let all = [
        header.tags(),
        header.metadata(),
        header.first_page(),
        header.ranges(),
        header.pages(),
    ];
    all.into_iter().flatten().collect()
}

struct Header<'a> {
    dump: &'a DumpFile,
    body: &'a RangesBody,
}

/// What is wrong with a field.
struct Wrong {
    field: &'static str,
    offset: usize,
    severity: Severity,
    expected: String,
    found: String,
    debugger: Option<Said>,
    /// The bytes that fix it.
    new: Option<Vec<u8>>,
}

impl Header<'_> {
    fn damage(&self, wrong: Wrong) -> Damage {
        let at = self.body.header.saturating_add(wrong.offset as u64);
        let change = wrong.new.map(|new| Change {
            what: wrong.field.to_owned(),
            offset: at,
            old: Vec::new(),
            new,
            reason: format!("expected {}", wrong.expected),
        });
        Damage {
            finding: Finding {
                severity: wrong.severity,
                field: wrong.field,
                offset: Some(at),
                expected: wrong.expected,
                found: wrong.found,
                debugger: wrong.debugger,
                mend: match change {
                    Some(_) => Mend::Yes,
                    None => Mend::No("a table whose pages fill the file; --from the original core"),
                },
            },
            change,
        }
    }

    /// A file that ends in this header, or in the table.
    fn cut(&self) -> Option<Damage> {
        let (body, size) = (self.body, self.dump.size);
        let table = u64::from(body.declared_ranges).saturating_mul(size_of::<Range>() as u64);
        let start = body.header.saturating_add(BYTES);
        let end = start.saturating_add(table);
        let words = match size {
            size if size < start => words::NO_RANGES,
            size if size < end && size < body.first_page => words::SIGNATURE,
            _ => return None,
        };
        Some({
            let mut cut = self.damage(Wrong {
                field: "number of ranges",
                offset: offset_of!(RangesHeader, ranges),
                severity: Severity::Refused,
                expected: format!("a header and a table of ranges, up to {end:#x}"),
                found: format!("the file ends at {size:#x}"),
                debugger: Some(words),
                new: None,
            });
            cut.finding.mend = Mend::No("the rest of the file");
            cut
        })
    }

    fn tags(&self) -> Option<Damage> {
        let right: Vec<u8> = [MARKER.to_le_bytes(), TAG, SECOND_TAG].concat();
        (!self.body.tagged).then(|| {
            self.damage(Wrong {
                field: "tags of the ranges",
                offset: offset_of!(RangesHeader, marker),
                severity: Severity::Cosmetic,
                expected: format!("\"{}\"", right.escape_ascii()),
                found: "other bytes".to_owned(),
                debugger: None,
                new: Some(right),
            })
        })
    }

    /// Whether the first page is where it should be is said of the first page.
    fn metadata(&self) -> Option<Damage> {
        let body = self.body;
        let start = body.header.saturating_add(METADATA_START);
        let right = body
            .proven_first_page
            .unwrap_or(body.first_page)
            .checked_sub(start)?;
        (right != body.metadata_bytes).then(|| {
            self.damage(Wrong {
                field: "metadata of the ranges",
                offset: offset_of!(RangesHeader, metadata_bytes),
                severity: Severity::Cosmetic,
                expected: format!("{right:#x} bytes, up to the first page"),
                found: format!("{:#x}", body.metadata_bytes),
                debugger: None,
                new: Some(right.to_le_bytes().to_vec()),
            })
        })
    }

    fn first_page(&self) -> Option<Damage> {
        let right = self.body.proven_first_page?;
        Some(self.damage(Wrong {
            field: "offset of the first page",
            offset: offset_of!(RangesHeader, first_page),
            severity: Severity::Broken,
            expected: format!("{right:#x}, with which the pages fill the file"),
            found: format!("{:#x}", self.body.first_page),
            debugger: Some(words::PARTIALLY),
            new: Some(right.to_le_bytes().to_vec()),
        }))
    }

    fn ranges(&self) -> Option<Damage> {
        let declared = u64::from(self.body.declared_ranges);
        let right = self.body.proven_ranges;
        if right.is_none() && declared > 0 {
            return None;
        }
        // Ranges that are not there are looked up last, and have no pages.
        let severity = match right {
            Some(right) if right < declared => Severity::Cosmetic,
            _ => Severity::Broken,
        };
        Some(
            self.damage(Wrong {
                field: "number of ranges",
                offset: offset_of!(RangesHeader, ranges),
                severity,
                expected: right.map_or_else(
                    || "as many as the table has".to_owned(),
                    |right| format!("{right}, with which the pages fill the file"),
                ),
                found: declared.to_string(),
                debugger: None,
                new: right
                    .and_then(|right| u32::try_from(right).ok())
                    .map(|right| right.to_le_bytes().to_vec()),
            }),
        )
    }

    /// Only compared with the file's size.
    fn pages(&self) -> Option<Damage> {
        let body = self.body;
        let is_known = body.proven_ranges.is_none() && body.pages > 0;
        let needed = body.declared_pages.saturating_mul(PAGE_SIZE);
        let (severity, debugger) = if body.first_page.saturating_add(needed) > self.dump.size {
            (Severity::Broken, Some(words::TRUNCATED))
        } else {
            (Severity::Cosmetic, None)
        };
        (is_known && body.declared_pages != body.pages).then(|| {
            self.damage(Wrong {
                field: "pages of the ranges",
                offset: offset_of!(RangesHeader, pages),
                severity,
                expected: format!("{}, the sum of the ranges", body.pages),
                found: body.declared_pages.to_string(),
                debugger,
                new: Some(body.pages.to_le_bytes().to_vec()),
            })
        })
    }
}
