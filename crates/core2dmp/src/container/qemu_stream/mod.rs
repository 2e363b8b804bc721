//! QEMU's migration stream: `migrate "exec:cat>F"`, `migrate file:F`, libvirt's `virsh save` and managed saves,
//! Proxmox' saved states.
//!
//! ```text
//! [libvirt's header, XML] -> machine -> RAM: blocks, pages -> devices -> description
//!                               |              |                 |   by it: vCPUs, CMOS
//!                               +-> split <----|-----------------+
//!                                     +-> runs of frames
//! ```
//!
//! See docs/formats/qemu-stream.md, and `format/qemu_stream.rs` for the sources.

mod config;
mod cpus;
mod libvirt;
mod ram;
mod sections;
mod split;
mod stream;
mod vmdesc;

use std::sync::Arc;

use self::config::Configuration;
use self::ram::Block;
use self::sections::Walk;
use self::split::Split;
use self::stream::Stream;
use super::page_index::{PageIndex, around};
use super::salvage::Salvage;
use super::{ContainerInfo, Guest, Hints, OpenOptions, Probe, pc};
use crate::address::PAGE_SIZE;
use crate::error::{Error, Place, Result};
use crate::format::qemu_stream::{LIBVIRT_MAGIC, LIBVIRT_PARTIAL, MAGIC, VERSION};
use crate::memory::Frames;
use crate::source::{ReadAt, fill_at};

pub(super) const TITLE: &str = "QEMU migration stream";

/// Bytes of CMOS memory.
const CMOS: usize = 128;
/// RAM of a device is no larger than that, as a rule.
const LARGE: u64 = 64 << 20;

pub(super) const MAGICS: &[&[u8]] = &[&MAGIC, &LIBVIRT_MAGIC, &LIBVIRT_PARTIAL];

pub(super) fn probe(probe: &Probe<'_>) -> bool {
    probe.begins_with(MAGICS)
}

pub(super) fn open(source: Arc<dyn ReadAt>, options: &OpenOptions) -> Result<Guest> {
    let mut warnings = Vec::new();
    let start = start(&*source, &mut warnings)?;
    let mut walk = Walk::default();
    let mut config = Configuration::default();
    let walked = follow(&*source, start, &mut config, &mut walk);
    // Without the first part of RAM there is nothing to salvage.
    let mut salvage = if walk.ram.blocks.is_empty() {
        Salvage::new(&OpenOptions::default())
    } else {
        Salvage::new(options)
    };
    salvage.accept_truncated(walked, source.size(), walk.rest())?;
    warnings.append(&mut walk.warnings);
    let found = walk.devices(b"cpu");
    let cpus = cpus::read(&*source, &found, &mut warnings);
    if cpus.is_empty() {
        let why = if walk.is_described() {
            "none of the devices is a vCPU of x86"
        } else {
            "the stream has no description of its devices"
        };
        warnings.push(format!("{why}: no registers"));
    }
    let nvram = nvram(&*source, &walk);
    let main = main_blocks(&walk.ram.blocks, start, &mut warnings)?;
    let bytes = main
        .iter()
        .fold(0, |sum: u64, block| sum.saturating_add(block.bytes));
    let split = Split::new(
        bytes,
        config.machine.as_deref(),
        nvram.as_deref(),
        &options.holes,
    )?;
    warnings.extend(split.warning.clone());
    let details = details(start, &config, &walk, &split, &main, bytes);
    let mut pages = walk.ram.pages;
    warnings.extend(missing(&main, &mut pages)?);
    if config.ignore_shared {
        warnings
            .push("written with x-ignore-shared: shared memory is not in the stream".to_owned());
    }
    let places = places(&main, &around(bytes / PAGE_SIZE, &split.holes));
    Ok(Guest {
        container: ContainerInfo {
            format: "qemu-stream",
            title: TITLE,
            size: source.size(),
            details,
            padding: 0,
            salvaged: salvage.done("stream"),
            warnings,
        },
        memory: pages.memory(source, &places)?,
        cpus,
        hints: Hints {
            not_ram: pc::not_ram(),
            ..Hints::default()
        },
    })
}

/// The pages of the blocks that were never sent, in words.
fn missing(main: &[Block], pages: &mut PageIndex) -> Result<Option<String>> {
    let mut missing = 0_u64;
    for block in main {
        let end = block.page.saturating_add(block.pages());
        let there = pages.count(block.page, end)?;
        missing = missing.saturating_add(block.pages().saturating_sub(there));
    }
    Ok((missing > 0).then(|| format!("{missing} pages of RAM are not in the stream")))
}

/// Where the stream begins.
fn start(source: &dyn ReadAt, warnings: &mut Vec<String>) -> Result<u64> {
    let mut head = [0; 16];
    fill_at(source, 0, &mut head).map_err(|e| Error::io("cannot read the file", e))?;
    if libvirt::probe(&head) {
        libvirt::stream_at(source, warnings)
    } else {
        Ok(0)
    }
}

/// Goes through the stream.
fn follow(
    source: &dyn ReadAt,
    start: u64,
    config: &mut Configuration,
    walk: &mut Walk,
) -> Result<()> {
    const WHAT: &str = "header of the stream";
    let mut stream = Stream::new(source, start);
    let place = stream.place();
    let magic: [u8; 4] = stream.bytes(WHAT)?;
    let version = stream.u32(WHAT)?;
    if (magic, version) != (MAGIC, VERSION) {
        let found = format!("\"{}\" version {version}", magic.escape_ascii());
        return Err(Error::malformed(WHAT, place, "QEVM version 3", found));
    }
    *config = Configuration::read(&mut stream)?;
    walk.all(&mut stream, config)
}

/// The CMOS memory, where the stream has a clock.
fn nvram(source: &dyn ReadAt, walk: &Walk) -> Option<Vec<u8>> {
    let found = walk.devices(b"mc146818rtc");
    let clock = found.first()?;
    let field = clock.device.field("cmos_data")?;
    let mut nvram = vec![0; CMOS];
    let at = clock.data_at.saturating_add(field.offset);
    let read = fill_at(source, at, &mut nvram).ok()?;
    (field.size == read && read == CMOS as u64).then_some(nvram)
}

/// The blocks that are the machine's memory, in the order of their addresses.
fn main_blocks(blocks: &[Block], start: u64, warnings: &mut Vec<String>) -> Result<Vec<Block>> {
    let short = |block: &Block| {
        let name = String::from_utf8_lossy(&block.name).into_owned();
        name.strip_prefix("/objects/")
            .map_or(name.clone(), str::to_owned)
    };
    let place = Place::Offset(start);
    let wrong = |found: String| {
        Err(Error::malformed(
            "blocks of RAM",
            place,
            "the RAM of a PC",
            found,
        ))
    };
    if blocks.iter().any(|block| short(block) == "mach-virt.ram") {
        return wrong("mach-virt.ram: a machine of ARM".to_owned());
    }
    let is_main = |block: &&Block| matches!(short(block).as_str(), "pc.ram" | "microvm.ram");
    let node = |block: &Block| short(block).strip_prefix("ram-node")?.parse::<u32>().ok();
    let mut main: Vec<Block> = blocks.iter().filter(is_main).take(1).cloned().collect();
    if main.is_empty() {
        main = blocks
            .iter()
            .filter(|block| node(block).is_some())
            .cloned()
            .collect();
        main.sort_by_key(node);
    }
    if main.is_empty() {
        let Some(largest) = blocks.iter().max_by_key(|block| block.bytes) else {
            return wrong("none".to_owned());
        };
        warnings.push(format!(
            "no block is named pc.ram or ram-node: the largest is taken, \"{}\"",
            largest.name.escape_ascii()
        ));
        main.push(largest.clone());
    }
    // Names of what devices have contain their path.
    let is_plain = |block: &&Block| block.bytes >= LARGE && !short(block).contains(['/', ':', '.']);
    for block in blocks.iter().filter(is_plain) {
        if main.iter().all(|other| other.page != block.page) {
            warnings.push(format!(
                "nothing tells where block \"{}\" of {:#x} bytes lies: memory that was plugged in is left out",
                block.name.escape_ascii(),
                block.bytes
            ));
        }
    }
    Ok(main)
}

/// Where the blocks' pages lie: page of the stream, and frames.
fn places(main: &[Block], ram: &[(u64, Frames)]) -> Vec<(u64, Frames)> {
    let mut places = Vec::new();
    let mut base = 0_u64;
    for block in main {
        let end = base.saturating_add(block.pages());
        for &(page, frames) in ram {
            let (first, stop) = (page.max(base), page.saturating_add(frames.count).min(end));
            if first < stop {
                let frame = frames.first.saturating_add(first.saturating_sub(page));
                let page = block.page.saturating_add(first.saturating_sub(base));
                places.push((page, Frames::new(frame, stop.saturating_sub(first))));
            }
        }
        base = end;
    }
    places
}

fn details(
    start: u64,
    config: &Configuration,
    walk: &Walk,
    split: &Split,
    main: &[Block],
    bytes: u64,
) -> Vec<(&'static str, String)> {
    let names: Vec<String> = main
        .iter()
        .map(|block| block.name.escape_ascii().to_string())
        .collect();
    let holes: Vec<String> = split.holes.iter().map(ToString::to_string).collect();
    let holes = if holes.is_empty() {
        "none".to_owned()
    } else {
        holes.join(", ")
    };
    let mut details = vec![
        (
            "machine",
            config
                .machine
                .clone()
                .unwrap_or_else(|| "not recorded".to_owned()),
        ),
        ("RAM", format!("{bytes:#x} bytes: {}", names.join(", "))),
        ("holes", format!("{holes} ({})", split.from)),
    ];
    if start > 0 {
        details.push((
            "written by",
            format!("libvirt; the stream is at {start:#x}"),
        ));
    }
    if walk.ram.is_mapped {
        details.push(("pages", "mapped: in their order, with a bitmap".to_owned()));
    }
    if walk.ram.packed > 0 {
        details.push(("pages", format!("{} compressed", walk.ram.packed)));
    }
    if walk.ram.pages.again > 0 {
        details.push(("pages sent again", walk.ram.pages.again.to_string()));
    }
    details
}
