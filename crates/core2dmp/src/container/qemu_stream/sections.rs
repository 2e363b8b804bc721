//! The walk from section to section.
//!
//! ```text
//! configuration | RAM: start, parts, end | devices | EOF | description
//! ```
//!
//! Nothing in front of a device says how long it is. The description at the stream's end does; without one, a device
//! ends where its footer is and something follows that a stream may go on with.

use std::collections::BTreeMap;

use super::config::Configuration;
use super::ram::Ram;
use super::stream::Stream;
use super::vmdesc::{self, Description, Device};
use crate::error::{Error, Place, Result};
use crate::format::qemu_stream::{RAM, mark};

/// Sections that are accepted.
const MAX_SECTIONS: usize = 1 << 16;
/// Places that look like a description and are parsed.
const MAX_TRIES: u32 = 16;
const WHAT: &str = "section of the stream";

/// A device's data, described.
#[derive(Debug)]
pub(super) struct Found<'d> {
    pub(super) data_at: u64,
    pub(super) device: &'d Device,
}

/// A device's section.
#[derive(Debug)]
struct Section {
    name: Vec<u8>,
    instance: u32,
    data_at: u64,
}

/// What the stream holds.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) ram: Ram,
    sections: Vec<Section>,
    /// Section ids, and whether they are the RAM's.
    ids: BTreeMap<u32, bool>,
    has_footers: bool,
    /// `None` until it was searched for.
    description: Option<Option<Description>>,
    pub(super) warnings: Vec<String>,
}

/// What a section's header says.
struct Header {
    kind: u8,
    id: u32,
    name: Vec<u8>,
    instance: u32,
    place: Place,
}

impl Walk {
    /// What is missing from a stream that ends here.
    pub(super) fn rest(&self) -> &'static str {
        match (self.ram.blocks.is_empty(), self.ram.is_done) {
            (true, _) => "all of the RAM",
            (_, false) => "the rest of the RAM, and the vCPUs",
            (_, true) => "the rest of the devices",
        }
    }

    /// Reads the stream from its first section on. What it has found stays after an error.
    pub(super) fn all(&mut self, stream: &mut Stream<'_>, config: &Configuration) -> Result<()> {
        // Machine types got both at once, in QEMU 2.4.
        self.has_footers = config.machine.is_some();
        loop {
            let place = stream.place();
            match stream.u8(WHAT)? {
                mark::EOF if self.ram.is_done => return Ok(()),
                mark::COMMAND => {
                    stream.u16(WHAT)?;
                    let bytes = stream.u16(WHAT)?;
                    stream.skip(u64::from(bytes), "a command")?;
                }
                kind @ mark::START..=mark::FULL => {
                    let header = self.header(stream, kind, place)?;
                    if !self.section(stream, &header, config)? {
                        return Ok(());
                    }
                }
                other => {
                    let found = format!("{other:#x}");
                    let expected = if self.ram.is_done {
                        "a section or the end"
                    } else {
                        "a section"
                    };
                    return Err(Error::malformed(WHAT, place, expected, found));
                }
            }
        }
    }

    fn header(&mut self, stream: &mut Stream<'_>, kind: u8, place: Place) -> Result<Header> {
        let id = stream.u32(WHAT)?;
        let mut header = Header {
            kind,
            id,
            name: Vec::new(),
            instance: 0,
            place,
        };
        if kind == mark::PART || kind == mark::END {
            if self.ids.contains_key(&id) {
                return Ok(header);
            }
            let expected = "the id of a section that was started";
            return Err(Error::malformed(WHAT, place, expected, format!("{id:#x}")));
        }
        header.name = stream.name(WHAT)?;
        header.instance = stream.u32(WHAT)?;
        let version = stream.u32(WHAT)?;
        let is_ram = header.name == RAM.0 && kind == mark::START;
        if is_ram && version != RAM.1 {
            let expected = format!("version {}", RAM.1);
            return Err(Error::malformed(
                "section of the RAM",
                place,
                expected,
                version.to_string(),
            ));
        }
        if self.ids.len() >= MAX_SECTIONS {
            return Err(Error::TooMany {
                what: "sections of the stream",
                found: self.ids.len() as u64,
                limit: MAX_SECTIONS as u64,
            });
        }
        self.ids.insert(id, is_ram);
        Ok(header)
    }

    /// Reads a section's data and footer; false if the stream cannot be followed beyond it.
    fn section(
        &mut self,
        stream: &mut Stream<'_>,
        header: &Header,
        config: &Configuration,
    ) -> Result<bool> {
        if self.ids.get(&header.id) == Some(&true) {
            self.ram.section(stream, config)?;
            self.ram.is_done |= header.kind == mark::END;
            self.footer(stream, header)?;
            return Ok(true);
        }
        let data_at = stream.at;
        if header.kind == mark::FULL {
            self.sections.push(Section {
                name: header.name.clone(),
                instance: header.instance,
                data_at,
            });
        }
        if self.ram.is_done && self.skip_described(stream, header)? {
            return Ok(true);
        }
        stream.at = data_at;
        if self.has_footers {
            if self.skip_to_footer(stream, header.id)? {
                return Ok(true);
            }
            // Only the file's end keeps a footer back.
            let found = stream.size().saturating_sub(data_at);
            return Err(Error::Truncated {
                what: "data of a device",
                place: Place::Offset(data_at),
                expected: found.saturating_add(5),
                found,
            });
        }
        let name = header.name.escape_ascii();
        if !self.ram.is_done {
            let expected = "the RAM, or a section whose end can be found";
            return Err(Error::malformed(
                WHAT,
                header.place,
                expected,
                format!("\"{name}\""),
            ));
        }
        self.warnings.push(format!(
            "nothing tells how long device \"{name}\" at {} is: what follows it is not read",
            header.place
        ));
        Ok(false)
    }

    /// The footer behind the RAM's section; whether it is there tells whether sections have them.
    fn footer(&mut self, stream: &mut Stream<'_>, header: &Header) -> Result<()> {
        self.has_footers = is_footer(stream.peek(5)?, header.id);
        if self.has_footers {
            stream.skip(5, "footer of a section")?;
        }
        Ok(())
    }

    /// Passes over a device that the description knows.
    fn skip_described(&mut self, stream: &mut Stream<'_>, header: &Header) -> Result<bool> {
        if self.description.is_none() {
            self.description = Some(find_description(stream)?);
        }
        let description = self.description.as_ref().and_then(Option::as_ref);
        let Some(device) = description.and_then(|all| all.device(&header.name, header.instance))
        else {
            return Ok(false);
        };
        stream.skip(device.bytes, "data of a device")?;
        if !self.has_footers {
            return Ok(true);
        }
        let is_whole = is_footer(stream.peek(5)?, header.id);
        if is_whole {
            stream.skip(5, "footer of a section")?;
        }
        Ok(is_whole)
    }

    /// Goes behind the footer of a section of which nothing else is known.
    fn skip_to_footer(&self, stream: &mut Stream<'_>, id: u32) -> Result<bool> {
        let mut footer = vec![mark::FOOTER];
        footer.extend(id.to_be_bytes());
        while stream.find(&footer)? {
            stream.skip(5, "footer of a section")?;
            let behind = stream.at;
            if self.goes_on(stream)? {
                stream.at = behind;
                return Ok(true);
            }
            stream.at = behind.saturating_sub(4);
        }
        Ok(false)
    }

    /// Whether a stream may go on like this.
    fn goes_on(&self, stream: &mut Stream<'_>) -> Result<bool> {
        let next = stream.peek(6)?;
        let id = next
            .get(1..5)
            .and_then(|id| id.try_into().ok())
            .map(u32::from_be_bytes);
        Ok(match next.first() {
            Some(&mark::EOF) => matches!(next.get(1), None | Some(&mark::DESCRIPTION)),
            Some(&(mark::PART | mark::END)) => id.is_some_and(|id| self.ids.contains_key(&id)),
            Some(&(mark::START | mark::FULL)) => {
                let bytes = next.get(5).copied().map_or(0, usize::from);
                stream.skip(6, WHAT)?;
                let name = stream.peek(bytes)?;
                bytes > 0 && name.len() == bytes && name.iter().all(u8::is_ascii_graphic)
            }
            Some(&mark::COMMAND) => next.get(1) == Some(&0),
            _ => false,
        })
    }

    /// The devices of this name that are described, in the stream's order.
    pub(super) fn devices(&self, name: &[u8]) -> Vec<Found<'_>> {
        let Some(Some(description)) = &self.description else {
            return Vec::new();
        };
        let named = self.sections.iter().filter(|section| section.name == name);
        named
            .filter_map(|section| {
                Some(Found {
                    data_at: section.data_at,
                    device: description.device(name, section.instance)?,
                })
            })
            .collect()
    }

    /// Whether there is a description of the devices.
    pub(super) const fn is_described(&self) -> bool {
        matches!(&self.description, Some(Some(_)))
    }
}

fn is_footer(bytes: &[u8], id: u32) -> bool {
    bytes.strip_prefix(&[mark::FOOTER]) == Some(&id.to_be_bytes())
}

/// Looks for the description from here on, and comes back.
fn find_description(stream: &mut Stream<'_>) -> Result<Option<Description>> {
    let start = stream.at;
    let mut found = None;
    let mut tries = 0;
    while tries < MAX_TRIES && stream.find(&[mark::EOF, mark::DESCRIPTION])? {
        let at = stream.at;
        if let Some(bytes) = description_bytes(stream)? {
            stream.at = at.saturating_add(6);
            let json = stream.take(bytes, "description of the devices")?;
            tries = tries.saturating_add(1);
            found = json
                .ends_with(b"}")
                .then(|| Description::parse(&json))
                .flatten();
            if found.is_some() {
                break;
            }
        }
        stream.at = at.saturating_add(1);
    }
    stream.at = start;
    Ok(found)
}

/// Bytes of JSON behind this end mark, if it looks like that.
fn description_bytes(stream: &mut Stream<'_>) -> Result<Option<usize>> {
    let left = stream.size().saturating_sub(stream.at);
    let [_, _, a, b, c, d, b'{'] = *stream.peek(7)? else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes([a, b, c, d]);
    let fits = bytes <= vmdesc::MAX_BYTES && u64::from(bytes).saturating_add(6) <= left;
    Ok(fits.then(|| usize::try_from(bytes).unwrap_or(0)))
}
