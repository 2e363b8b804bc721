//! Reads virtual memory of a guest's kernel: `cargo run --example read_virtual -- guest.core fffff80000001000 64`
//!
//! Without an address it reads the beginning of the kernel's image.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use core2dmp::address::Gva;
use core2dmp::container::{self, OpenOptions};
use core2dmp::source::FileSource;
use core2dmp::windows;

/// Bytes that are shown at most.
const MOST: usize = 1 << 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: read_virtual CORE [ADDRESS [BYTES]]")?;
    let source = Arc::new(FileSource::open(Path::new(&path))?);
    let guest = container::open(source, OpenOptions::default())?;
    let found = windows::identify(&guest)?;
    let start = match arguments.next() {
        Some(address) => Gva::new(u64::from_str_radix(&address, 16)?),
        None => found.kernel.image.base,
    };
    let bytes: usize = arguments.next().map_or(Ok(64), |bytes| bytes.parse())?;

    // The address space of System. Whatever cannot be read is an error that names the page table entry or frame.
    let space = found.space(&guest.memory);
    let mut buf = vec![0; bytes.min(MOST)];
    space.read(start, &mut buf)?;
    for (line, address) in buf.chunks(16).zip((start.get()..).step_by(16)) {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{address:016x}  {}", hex.join(" "));
    }
    Ok(())
}
