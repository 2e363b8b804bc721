//! Prints the stack of every processor of a guest: `cargo run -p core2dmp --example stacks -- FILE`.

use std::error::Error;
use std::sync::Arc;

use core2dmp::address::Gpa;
use core2dmp::container::{self, OpenOptions};
use core2dmp::paging::AddressSpace;
use core2dmp::source::FileSource;
use core2dmp::windows::unwind::{Frame, Registers, Unwinder};
use core2dmp::windows::{self, ContextPolicy};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let guest = container::open(
        Arc::new(FileSource::open(path.as_ref())?),
        OpenOptions::default(),
    )?;
    let windows = windows::identify(&guest)?;
    let contexts = windows.crash_state(&guest, ContextPolicy::Auto).contexts;
    for (processor, context) in windows.processors.iter().zip(contexts) {
        println!("processor {}: {}", context.number, context.why);
        let Some(start) = Registers::from_context(&context.context) else {
            println!("  no registers");
            continue;
        };
        // The process that runs there: its user memory, and the images in it.
        let process = windows.process_of(processor);
        let root = process.map_or(windows.dtb.value, |process| Gpa::new(process.dtb));
        let space = AddressSpace::new(&guest.memory, windows.mode, root);
        let mut unwinder = Unwinder::of(&windows, &space);
        if let Some(process) = process {
            let (with_user, incomplete) = unwinder.with_user_modules(&windows, process.eprocess);
            unwinder = with_user;
            if let Some(why) = incomplete {
                println!("  {why}");
            }
        }
        let stack = unwinder.walk(&start);
        for frame in &stack.frames {
            println!(
                "  {:#x} {:#x} {} ({})",
                frame.sp,
                frame.ip,
                name(frame),
                frame.how
            );
        }
        println!("  {}", stack.ended);
    }
    Ok(())
}

/// Module, nearest export, offset.
fn name(frame: &Frame) -> String {
    let Some(place) = &frame.place else {
        return "in no image".to_owned();
    };
    let module = place.module.name.escape_debug();
    match &place.export {
        Some(export) => format!("{module}!{}+{:#x}", export.name, export.offset),
        None => format!("{module}+{:#x}", place.rva),
    }
}
