//! Good dumps with one thing broken: what a checker, a repairer and Microsoft's engine are asked about.
//!
//! ```text
//! Body::Full64 --good()--> Case --Row::apply--> a broken dump; Row says what has to be found in it, and what fixes it
//! ```
//!
//! A row breaks bytes at offsets that are written here by hand, so a wrong layout in the library cannot cancel out.
//! Its words are those of Microsoft's engine, dbgeng 10.0.10240.
//!
//! ```
//! use core2dmp_synth::broken::{Body, rows};
//!
//! let good = Body::Full64.good();
//! let row = rows().find(|row| row.name == "dump type 2").unwrap();
//! let broken = row.broken(&good);
//! assert_eq!(broken.bytes.len(), good.dump.bytes.len());
//! ```

mod body;
mod case;
mod header;
mod memory;
mod row;
mod today;

pub use case::Case;
pub use row::{Body, Mended, Row, Verdict};

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let tables = [header::ROWS, body::ROWS, memory::ROWS, today::ROWS];
    tables.into_iter().flatten().flat_map(|rows| rows.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_breaks_something() {
        for body in Body::ALL {
            let good = body.good();
            for row in rows().filter(|row| row.body == body) {
                assert!(row.broken(&good).bytes != good.dump.bytes, "{row:?}");
                let silent = row.verdict == Verdict::Silent;
                assert_eq!(silent, row.field.is_empty(), "{row:?}");
                assert_eq!(silent, row.mended == Mended::Nothing, "{row:?}");
            }
        }
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<String> = rows().map(|row| format!("{row:?}")).collect();
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
