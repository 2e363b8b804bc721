//! However a dump is written, its bytes are the same: sparse, in parts, into a stream, from cores and from
//! compressed containers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use core2dmp::container::{self, Guest, OpenOptions};
use core2dmp::dump::{self, DumpKind, Plan, PlanOptions};
use core2dmp::error::Error;
use core2dmp::source::FileSource;
use core2dmp::windows;
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::GuestSpec;

fn quick() -> WriteOptions {
    WriteOptions::default().sync(false)
}

/// A guest as a core, compressed, and with missing frames; each with its plan for two types.
fn each(check: impl Fn(&str, &Guest, &Plan, &Path)) {
    let guest = GuestSpec::windows10()
        .processors(2)
        .fill(60)
        .ballooned(0x1f00, 0x20)
        .build();
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    let kdump = folder.path().join("guest.kdump");
    fs::write(&kdump, guest.kdump().bytes()).unwrap();
    for (name, source) in [("core", &core), ("kdump", &kdump)] {
        let source = Arc::new(FileSource::open(source).unwrap());
        let opened = container::open(source, OpenOptions::default()).unwrap();
        let found = windows::identify(&opened).unwrap();
        for kind in [DumpKind::Full, DumpKind::Kernel] {
            let options = PlanOptions::default().kind(kind);
            let plan = dump::plan(&opened, &found, &options).unwrap();
            let folder = tempfile::tempdir().unwrap();
            check(&format!("{name}, {kind:?}"), &opened, &plan, folder.path());
        }
    }
}

fn streamed(opened: &Guest, plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    write::to_stream(&plan.image, &opened.memory, &mut bytes, &Silent).unwrap();
    bytes
}

#[test]
fn zero_pages_are_left_out_of_a_sparse_dump() {
    each(|name, opened, plan, folder| {
        let wanted = streamed(opened, plan);
        let path = folder.join("guest.dmp");
        let options = quick().sparse(true);
        write::to_file(&plan.image, &opened.memory, &path, options, &Silent).unwrap();
        assert!(fs::read(&path).unwrap() == wanted, "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let data = wanted
                .chunks(4096)
                .filter(|page| page.iter().any(|byte| *byte != 0));
            let blocks = path.metadata().unwrap().blocks() * 512;
            let needed = data.count() as u64 * 4096;
            assert!(
                blocks <= needed + (64 << 10),
                "{name}: {blocks} for {needed}"
            );
        }
    });
}

#[test]
fn parts_put_together_are_the_dump() {
    each(|name, opened, plan, folder| {
        let wanted = streamed(opened, plan);
        for (part, sparse) in [
            (1 << 20, false),
            (0x2000, false),
            (5 << 20, true),
            (1 << 40, false),
        ] {
            if plan.image.size().div_ceil(part) > 999 {
                continue;
            }
            let folder = folder.join(part.to_string());
            fs::create_dir(&folder).unwrap();
            let options = quick().sparse(sparse);
            let path = folder.join("guest.dmp");
            let (names, _) =
                write::to_parts(&plan.image, &opened.memory, &path, part, options, &Silent)
                    .unwrap();
            assert_eq!(names.len() as u64, plan.image.size().div_ceil(part));
            assert_eq!(names[0], folder.join("guest.dmp.001"));
            let parts: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).unwrap()).collect();
            let (last, others) = parts.split_last().unwrap();
            assert!(others.iter().all(|bytes| bytes.len() as u64 == part));
            assert!(last.len() as u64 <= part && !last.is_empty());
            assert!(parts.concat() == wanted, "{name}, {part:#x}");
        }
    });
}

#[test]
fn a_part_that_exists_keeps_all_from_appearing() {
    each(|_, opened, plan, folder| {
        let path = folder.join("guest.dmp");
        fs::write(folder.join("guest.dmp.002"), "mine").unwrap();
        let made = write::to_parts(
            &plan.image,
            &opened.memory,
            &path,
            1 << 20,
            quick(),
            &Silent,
        );
        assert!(matches!(made, Err(Error::OutputExists { .. })));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        let made = write::to_parts(&plan.image, &opened.memory, &path, 4096, quick(), &Silent);
        assert!(matches!(made, Err(Error::TooMany { limit: 999, .. })));
    });
}
