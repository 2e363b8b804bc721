//! `cargo xtask judge export DIR` and `judge import FILE`: the dumps to a machine that has today's engine, and what it
//! said of them back into the record.
//!
//! ```text
//! rows, their repaired dumps, dumps of `judge`'s table --export--> DIR/*.dmp, DIR/list.tsv (file, dump, broken)
//! file, verdict, words  (or dump, broken, verdict, words, repaired) --import--> judges/dbgeng/rows-10.0.29507.tsv
//! ```

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use core2dmp_synth::broken::{Body, Mended, Row, rows};

use super::dumps;
use super::recorded::{CONVERTED, Engine, Record, Said};
use super::rows::{Opinion, repaired};
use crate::run::{Outcome, target_dir};

/// What a repaired dump's name ends in.
const REPAIRED: &str = ".repaired.dmp";
/// Bytes that are a hole where they are zeros.
const BLOCK: usize = 4096;

/// The name of a row's dump, without what it ends in; of the good one without a row.
fn name(body: Body, row: Option<&Row>) -> String {
    match row {
        Some(row) => format!("{}-{}", body.name(), row.name.replace([' ', '.'], "-")),
        None => body.name().to_owned(),
    }
}

/// Every row's dump, every repaired one and every dump of `judge`'s table, with a list.
pub(super) fn export(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let mut list = String::from("file\tdump\tbroken\n");
    let mut add = |file: String, bytes: &mut dyn Read, dump: &str, broken: &str| -> Outcome {
        sparse(&folder.join(&file), bytes)?;
        list.push_str(&format!("{file}\t{dump}\t{broken}\n"));
        Ok(())
    };
    for body in Body::ALL {
        let good = body.good();
        let file = format!("{}.dmp", name(body, None));
        add(
            file,
            &mut good.dump.bytes.as_slice(),
            body.name(),
            "nothing",
        )?;
        for row in rows().filter(|row| row.body == body) {
            let file = name(body, Some(row));
            let broken = row.broken(&good).bytes;
            let plain = format!("{file}.dmp");
            add(plain, &mut broken.as_slice(), body.name(), row.name)?;
            if matches!(row.mended, Mended::Whole | Mended::Anew) {
                let mended = repaired(&broken)?;
                let file = format!("{file}{REPAIRED}");
                add(file, &mut mended.as_slice(), body.name(), row.name)?;
            }
        }
    }
    for dump in dumps::make(&target_dir().join("judge"), &mut Vec::new())? {
        let mut file = File::open(&dump.file)?;
        let slug = dump.slug();
        add(
            format!("{CONVERTED}-{slug}.dmp"),
            &mut file,
            CONVERTED,
            &slug,
        )?;
    }
    std::fs::write(folder.join("list.tsv"), list)?;
    println!(
        "pack it with: tar -S -C {} -c . | xz -9e -T0 --lzma2=dict=1GiB (or zstd --long=31)",
        folder.display()
    );
    Ok(())
}

/// Writes a file with holes for its zeros.
fn sparse(path: &Path, bytes: &mut dyn Read) -> Outcome {
    let mut file = File::create(path)?;
    let mut size = 0;
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        let read = bytes.take(BLOCK as u64).read_to_end(&mut block)?;
        if read == 0 {
            break;
        }
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(size))?;
            file.write_all(&block)?;
        }
        size += read as u64;
    }
    file.set_len(size)?;
    Ok(())
}

/// Takes what today's engine said elsewhere into the record: lines of the record's form, or of file, verdict, words.
pub(super) fn import(file: &str) -> Outcome {
    let mut record = Record::read(Engine::Today)?;
    let text = std::fs::read_to_string(file)?;
    let is_file = |line: &&str| {
        let name = line.split('\t').next();
        name.is_some_and(|name| name.ends_with(".dmp"))
    };
    let mut taken = 0;
    for line in text.lines().filter(is_file) {
        let mut cells = line.split('\t');
        let (name, verdict) = (cells.next().unwrap_or_default(), cells.next());
        let verdict = verdict.and_then(Opinion::of);
        let verdict = verdict.ok_or_else(|| format!("{name}: no verdict is named"))?;
        take(&mut record, name, verdict, cells.next().unwrap_or_default())?;
        taken += 1;
    }
    let others: Vec<&str> = text.lines().filter(|line| !is_file(line)).collect();
    taken += record.take(&others.join("\n"))?;
    println!("{taken} verdicts");
    record.write()
}

/// A verdict on a file of the list.
fn take(record: &mut Record, file: &str, verdict: Opinion, words: &str) -> Outcome {
    if let Some(stem) = file.strip_suffix(REPAIRED) {
        let (body, row) = row_of(stem).ok_or_else(|| format!("{file}: no row has this name"))?;
        let mut said = record.said(body, row).cloned();
        let said = said.as_mut();
        let said = said.ok_or_else(|| format!("{file}: the broken dump comes first"))?;
        said.repaired = Some(verdict);
        record.put(body, row, said.clone());
        return Ok(());
    }
    let stem = file.trim_end_matches(".dmp");
    let (dump, broken) = match (row_of(stem), stem.strip_prefix(CONVERTED)) {
        (Some(row), _) => row,
        (None, Some(case)) => (CONVERTED, case.trim_start_matches('-')),
        (None, None) => return Err(format!("{file}: no row has this name").into()),
    };
    let said = Said {
        verdict,
        words: words.to_owned(),
        repaired: None,
    };
    record.put(dump, broken, said);
    Ok(())
}

/// Dump and row of a file's name.
fn row_of(stem: &str) -> Option<(&'static str, &'static str)> {
    let mut bodies = Body::ALL.into_iter();
    if let Some(body) = bodies.find(|body| name(*body, None) == stem) {
        return Some((body.name(), "nothing"));
    }
    let row = rows().find(|row| name(row.body, Some(row)) == stem)?;
    Some((row.body.name(), row.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_list_finds_its_row_again() {
        for row in rows() {
            let stem = name(row.body, Some(row));
            assert_eq!(row_of(&stem), Some((row.body.name(), row.name)), "{stem}");
        }
        for body in Body::ALL {
            assert_eq!(row_of(body.name()), Some((body.name(), "nothing")));
        }
        assert_eq!(row_of("full64-no-such-row"), None);
    }
}
