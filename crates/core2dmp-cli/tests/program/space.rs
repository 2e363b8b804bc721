//! `RequiredDumpSpace` of what the program writes: today's WinDbg does not read the end of a bitmap dump in which it is
//! more than the file (docs/formats/dmp.md).
//!
//! ```text
//! a file, a stream, parts, sparse, in place   its size, in every type
//! stopped                                     there is no file (kills.rs), or a core that can go back (in_place.rs)
//! a stream that was cut                       the header went first: check names it, repair mends it
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use core2dmp_synth::GuestSpec;
use tempfile::TempDir;

use crate::run::{names, run, scratch};

const TYPES: [&str; 4] = ["full", "bitmap", "active", "kernel"];

fn core() -> (TempDir, PathBuf) {
    let folder = scratch();
    let core = folder.path().join("guest.core");
    let guest = GuestSpec::windows10().processors(2).fill(60).build();
    guest.xen_core().write_file(&core).unwrap();
    (folder, core)
}

/// Fails if the header's space is not the size of the file.
fn assert_space(name: &str, dump: &[u8]) {
    let space = u64::from_le_bytes(dump[0xfa0..0xfa8].try_into().unwrap());
    assert_eq!(space, dump.len() as u64, "{name}");
}

#[test]
fn it_is_the_size_of_the_file_in_whatever_way_that_is_written() {
    let (folder, core) = core();
    for kind in TYPES {
        let out = folder.path().join("out.dmp");
        for options in [
            &["convert", "--type", kind][..],
            &["convert", "--sparse", "--type", kind],
        ] {
            run(options, &[&core, &out]).expect_code(0);
            assert_space(kind, &fs::read(&out).unwrap());
            fs::remove_file(&out).unwrap();
        }
        let stream = run(&["convert", "--type", kind], &[&core, Path::new("-")]).expect_code(0);
        assert_space(kind, &stream.stdout);
        let parts = scratch();
        let part = parts.path().join("out.dmp");
        run(
            &["convert", "--split", "7M", "--type", kind],
            &[&core, &part],
        )
        .expect_code(0);
        let parts = names(parts.path())
            .into_iter()
            .map(|name| fs::read(parts.path().join(name)).unwrap());
        let joined = parts.collect::<Vec<_>>().concat();
        assert_space(kind, &joined);
        assert!(joined == stream.stdout, "{kind}");
    }
}

/// The findings of `check` about the field.
fn findings(dump: &Path) -> Vec<String> {
    let report = run(&["check", "--json"], &[dump]).json();
    let findings = report["findings"].as_array().unwrap().iter();
    let of_space = findings.filter(|finding| finding["field"] == "RequiredDumpSpace");
    of_space
        .map(|finding| finding["found"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn of_a_stream_that_was_cut_check_names_it_and_repair_mends_it() {
    const VIEW: usize = 16 << 20;
    let (folder, core) = core();
    let dump = folder.path().join("cut.dmp");
    let options = ["convert", "--type", "bitmap"];
    let whole = run(&options, &[&core, Path::new("-")])
        .expect_code(0)
        .stdout;
    assert!(whole.len() > VIEW);
    for place in 1..=20 {
        let size = whole.len() - whole.len() * place / 21 - place % 3;
        fs::write(&dump, &whole[..size]).unwrap();
        // Pages of the last view of 16 MiB; none in a file of one.
        let first_page = usize::try_from(u64::from_le_bytes(
            whole[0x2020..0x2028].try_into().unwrap(),
        ));
        let first_page = first_page.unwrap();
        let whole_pages = |end: usize| (end - first_page) / 4096;
        let hidden = match size {
            size if size < VIEW => 0,
            size => whole_pages(size) - whole_pages(size / VIEW * VIEW),
        };
        let found = findings(&dump);
        assert_eq!(found.len(), usize::from(hidden > 0), "{size:#x}: {found:?}");
        assert!(
            found
                .iter()
                .all(|found| found.contains(&format!(" {hidden} page"))),
            "{size:#x}, {hidden}: {found:?}"
        );
        let mended = folder.path().join("mended.dmp");
        run(&["repair", "--force"], &[&dump, &mended]);
        if hidden > 0 {
            assert_space("mended", &fs::read(&mended).unwrap());
            assert_eq!(findings(&mended), Vec::<String>::new(), "{size:#x}");
            fs::remove_file(&mended).unwrap();
        }
    }
}
