//! Dumps: bare headers, bitmaps, and what `check` and `repair` make of whole ones.

use std::sync::{Arc, LazyLock};

use core2dmp::audit::check::check as check_dump;
use core2dmp::audit::diff::diff_headers;
use core2dmp::audit::repair::repair as repair_dump;
use core2dmp::container::dmp::DumpFile;
use core2dmp::source::{ReadAt, fill_at};
use core2dmp_synth::broken::Body;

use crate::input::{self, Seed};

static DUMPS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    Body::ALL
        .into_iter()
        .filter(|body| !matches!(body, Body::Full32 | Body::Live64))
        .map(|body| Seed::new(body.good().dump.bytes))
        .collect()
});

static HEADERS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let header = |body: Body| {
        let dump = body.good().dump;
        Seed::new(dump.bytes[..dump.header_bytes].to_vec())
    };
    [Body::Full64, Body::Full32, Body::Bitmap64]
        .map(header)
        .into()
});

/// Headers and bitmaps, with the first pages behind them.
static BITMAPS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let start = |body: Body| {
        let dump = body.good().dump;
        Seed::new(dump.bytes[..dump.first_page + 0x3000].to_vec())
    };
    [
        Body::Bitmap64,
        Body::Kernel64,
        Body::Summary64,
        Body::Summary32,
    ]
    .map(start)
    .into()
});

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    input::inputs(&DUMPS)
}

pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    input::inputs(&HEADERS)
}

pub(crate) fn bitmap_seeds() -> Vec<Vec<u8>> {
    input::inputs(&BITMAPS)
}

fn open(seeds: &[Seed], data: &[u8]) -> Option<(Arc<dyn ReadAt>, DumpFile)> {
    let file = input::file(seeds, data)?;
    let dump = DumpFile::open(Arc::clone(&file)).ok()?;
    Some((file, dump))
}

/// Reading a header, comparing it with another, checking it.
pub(crate) fn header(data: &[u8]) -> bool {
    let Some((_, dump)) = open(&HEADERS, data) else {
        return false;
    };
    for seed in HEADERS.iter() {
        let _ = diff_headers(&dump.header, &seed.bytes);
        let _ = diff_headers(&seed.bytes, &dump.header);
    }
    let _ = check_dump(&dump);
    true
}

/// Where the pages of a bitmap's body are.
pub(crate) fn bitmap(data: &[u8]) -> bool {
    let Some((_, dump)) = open(&BITMAPS, data) else {
        return false;
    };
    let guest = dump.guest();
    let runs = guest.memory.runs();
    assert!(
        runs.windows(2)
            .all(|pair| pair[0].frames.end() <= pair[1].frames.first)
    );
    let _ = check_dump(&dump);
    true
}

pub(crate) fn check(data: &[u8]) -> bool {
    let Some((_, dump)) = open(&DUMPS, data) else {
        return false;
    };
    let report = check_dump(&dump);
    let told = |finding: &core2dmp::audit::check::Finding| !finding.field.is_empty();
    assert!(report.findings.iter().all(told));
    true
}

/// Changes lie in the file, say what is there, and come to what the repair says.
pub(crate) fn repair(data: &[u8]) -> bool {
    let Some((file, dump)) = open(&DUMPS, data) else {
        return false;
    };
    let Ok(repair) = repair_dump(&dump) else {
        return true;
    };
    let mut end = 0;
    for change in &repair.changes {
        assert!(change.offset >= end, "changes overlap");
        end = change.offset + change.new.len() as u64;
        assert_eq!(change.old.len(), change.new.len());
        let mut old = vec![0; change.old.len()];
        let got = fill_at(&*file, change.offset, &mut old).unwrap();
        assert_eq!(got, old.len() as u64, "a change behind the end");
        assert_eq!(old, change.old);
    }
    let _ = repair.image(&dump).expect("the repaired file");
    true
}
