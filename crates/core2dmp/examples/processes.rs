//! Lists the processes of a guest: `cargo run --example processes -- guest.core`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use core2dmp::container::{self, OpenOptions};
use core2dmp::source::FileSource;
use core2dmp::windows;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: processes CORE")?;
    let source = Arc::new(FileSource::open(Path::new(&path))?);
    let guest = container::open(source, OpenOptions::default())?;
    let found = windows::identify(&guest)?;
    for process in &found.processes {
        // The name is the guest's, which may hold anything: nothing of a guest goes to a terminal as it is.
        println!("{:>6}  {}", process.pid, process.name.escape_debug());
    }
    for warning in &found.warnings {
        eprintln!("warning: {}", warning.escape_debug());
    }
    Ok(())
}
