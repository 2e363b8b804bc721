//! Opens the files of one guest, whatever they are, and shows what is in them: `cargo run --example open -- guest.vmss guest.vmem`

use std::error::Error;
use std::path::PathBuf;

use core2dmp::OpenOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if names.is_empty() {
        return Err("usage: open FILE...".into());
    }
    let mut opened = core2dmp::open(&names, &OpenOptions::default())?;
    for found in &opened.files.found {
        println!("besides what was named: {found}");
    }
    let guest = &opened.guest;
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
    match opened.identify() {
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
