//! Opens the files of one guest, whatever they are, and shows what is in them: `cargo run --example open -- guest.vmss guest.vmem`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::source::{FileSource, ReadAt};
use core2dmp::windows;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files: Vec<Arc<dyn ReadAt>> = Vec::new();
    for path in std::env::args().skip(1) {
        files.push(Arc::new(FileSource::open(Path::new(&path))?));
    }
    if files.is_empty() {
        return Err("usage: open FILE...".into());
    }
    let guest = container::open_set(files, &OpenOptions::default())?;
    println!(
        "{} of {} bytes",
        guest.container.title, guest.container.size
    );
    for (name, value) in &guest.container.details {
        println!("  {name}: {}", value.escape_debug());
    }
    println!("{} vCPUs", guest.cpus.len());
    for run in guest.memory.runs() {
        println!("  frames {} to {}", run.frames.first, run.frames.end());
    }
    match windows::identify(&guest) {
        Ok(found) => {
            let build = found.version.build.map_or(0, |build| build.value);
            println!(
                "Windows, build {build}, {} processors",
                found.processors.len()
            );
        }
        // Not Windows, or not readable as it: the memory is there all the same.
        Err(error) => println!("no Windows: {error}"),
    }
    Ok(())
}
