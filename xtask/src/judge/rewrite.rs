//! `cargo xtask judge rewrite [FILE.dmp ...]`: the engine writes our dumps out again, and every page is compared.
//!
//! ```text
//! our dump --judge-dbgeng, ".dump /f"--> its dump --container::dmp--> pages of every frame --= ?-- ours
//! ```
//!
//! A page that the engine takes from another place of the file than we put it to is one that a user of it would see
//! wrongly, however well the dump opens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use core2dmp::container::dmp::DumpFile;
use core2dmp::memory::compare::{MemoryDiff, compare};
use core2dmp::source::FileSource;
use core2dmp::write::Silent;

use super::dumps::{self, Dump};
use super::print;
use crate::run::{Outcome, target_dir};

/// The engine's own name for the file that it writes: `$WRITABLE`, as it sees it.
const AGAIN: &str = r".dump /o /f Z:\out\again.dmp";

/// What it says where it writes none: it wants every page that Windows counts, which a kernel dump and an active one
/// leave out on purpose.
const WHY_NOT: [&str; 3] = ["can only be written", "Failed reading", "Unable to"];

/// What became of a dump's pages.
enum Said {
    /// It wrote the dump; the pages of both.
    Wrote(Box<MemoryDiff>),
    /// It wrote none.
    Nothing(String),
}

/// Judges the dumps that are named, or those of the corpus and of the presets.
pub fn task(judges: &Path, files: &[String]) -> Outcome {
    let mut rows = Vec::new();
    let dumps = if files.is_empty() {
        dumps::make(&target_dir().join("judge"), &mut rows)?
    } else {
        files.iter().map(|file| Dump::named(file)).collect()
    };
    print(&rows);
    let script = judges.join("dbgeng/judge-dbgeng");
    let folder = writable()?;
    println!(
        "\n| dump | pages the same | different | ours alone | its alone |\n|---|---|---|---|---|"
    );
    let (mut pages, mut written, mut wrong) = (0, 0, 0);
    for dump in &dumps {
        match rewrite(&script, dump, &folder)? {
            Said::Wrote(diff) => {
                // Frames that a dump leaves out are zeros in a complete dump.
                let different = diff.different.pages + diff.only_old.pages + diff.unreadable.pages;
                pages += diff.alike;
                written += 1;
                wrong += usize::from(different > 0);
                println!(
                    "| {} | {} | {} | {} | {} |",
                    dump.case,
                    diff.alike,
                    diff.different.pages,
                    diff.only_old.pages,
                    diff.only_new.pages
                );
            }
            Said::Nothing(words) => println!("| {} | not written: {words} | | | |", dump.case),
        }
    }
    println!(
        "{pages} pages of {written} dumps are the same as the engine wrote them; {wrong} dumps differ; of {} dumps it \
         wrote none",
        dumps.len() - written
    );
    if wrong > 0 || written == 0 {
        return Err(format!("{wrong} dumps that the engine writes out otherwise").into());
    }
    Ok(())
}

/// A folder that the engine, which runs as another user, may write to.
fn writable() -> Outcome<PathBuf> {
    let folder = std::path::absolute(target_dir().join("judge").join("again"))?;
    std::fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(folder)
}

/// Lets the engine write a dump out, and compares.
fn rewrite(script: &Path, dump: &Dump, folder: &Path) -> Outcome<Said> {
    let again = folder.join("again.dmp");
    if again.exists() {
        std::fs::remove_file(&again)?;
    }
    let output = Command::new(script)
        .env("WRITABLE", folder)
        .args(["-l".as_ref(), dump.file.as_os_str(), AGAIN.as_ref()])
        .output()?;
    if output.status.code() == Some(2) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the judge is not set up, or failed: {said}").into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("Dump successfully written") {
        let behind = text
            .lines()
            .skip_while(|line| !line.contains(".dump /o /f"));
        let mut lines = behind.map(str::trim);
        let why = lines.find(|line| WHY_NOT.iter().any(|why| line.contains(why)));
        return Ok(Said::Nothing(why.unwrap_or("no word why").to_owned()));
    }
    let memory = |file: &Path| -> Outcome<_> {
        let source = Arc::new(FileSource::open(file)?);
        Ok(DumpFile::open(source)?.memory())
    };
    let diff = compare(&memory(&dump.file)?, &memory(&again)?, &Silent)?;
    std::fs::remove_file(&again)?;
    Ok(Said::Wrote(Box::new(diff)))
}
