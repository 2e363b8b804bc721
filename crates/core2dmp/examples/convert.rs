//! Converts a guest's memory into a crash dump: `cargo run --example convert -- guest.core guest.dmp`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, PlanOptions};
use core2dmp::source::FileSource;
use core2dmp::windows;
use core2dmp::write::{self, Silent, WriteOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("usage: convert CORE DUMP".into());
    };
    let source = Arc::new(FileSource::open(Path::new(input))?);
    let guest = container::open(source, OpenOptions::default())?;
    println!(
        "{}, {} frames",
        guest.container.title,
        guest.memory.frame_count()
    );

    let found = windows::identify(&guest)?;
    let plan = dump::plan(&guest, &found, &PlanOptions::default())?;
    println!("dump type {}, {} bytes", plan.dump_type, plan.image.size());
    for warning in guest.container.warnings.iter().chain(&plan.warnings) {
        println!("warning: {}", warning.escape_debug());
    }

    let options = WriteOptions::default().force(true);
    write::to_file(
        &plan.image,
        &guest.memory,
        Path::new(output),
        options,
        &Silent,
    )?;
    Ok(())
}
