//! The configuration: machine type and capabilities, in front of the sections.

use super::stream::Stream;
use crate::error::{Error, Result};
use crate::format::qemu_stream::{IGNORE_SHARED, MAPPED_RAM, configuration, mark};

/// Capabilities that are accepted; QEMU has some twenty.
const MAX_CAPABILITIES: u32 = 256;
/// Bytes of a machine type's name.
const MAX_MACHINE: u32 = 256;

/// What it says; machines before 2.4 do not write one.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) machine: Option<String>,
    pub(super) mapped_ram: bool,
    pub(super) ignore_shared: bool,
}

impl Configuration {
    pub(super) fn read(stream: &mut Stream<'_>) -> Result<Self> {
        const WHAT: &str = "configuration of the stream";
        let mut config = Self::default();
        if stream.peek(1)?.first() != Some(&mark::CONFIGURATION) {
            return Ok(config);
        }
        stream.skip(1, WHAT)?;
        let place = stream.place();
        let bytes = stream.u32(WHAT)?;
        if bytes > MAX_MACHINE {
            let expected = format!("a machine type of {MAX_MACHINE} bytes at most");
            return Err(Error::malformed(WHAT, place, expected, bytes.to_string()));
        }
        let name = stream.take(usize::try_from(bytes).unwrap_or(0), WHAT)?;
        config.machine = Some(name.escape_ascii().to_string());
        while stream.peek(1)?.first() == Some(&mark::SUBSECTION) {
            stream.skip(1, WHAT)?;
            let place = stream.place();
            let name = stream.name(WHAT)?;
            let _version = stream.u32(WHAT)?;
            match name.as_slice() {
                configuration::CAPABILITIES => config.capabilities(stream)?,
                configuration::PAGE_BITS => stream.skip(4, WHAT)?,
                configuration::UUID => stream.skip(16, WHAT)?,
                other => {
                    let found = format!("\"{}\"", other.escape_ascii());
                    return Err(Error::malformed(
                        WHAT,
                        place,
                        "capabilities, page size or UUID",
                        found,
                    ));
                }
            }
        }
        Ok(config)
    }

    fn capabilities(&mut self, stream: &mut Stream<'_>) -> Result<()> {
        const WHAT: &str = "capabilities of the stream";
        let count = stream.u32(WHAT)?;
        if count > MAX_CAPABILITIES {
            return Err(Error::TooMany {
                what: WHAT,
                found: u64::from(count),
                limit: u64::from(MAX_CAPABILITIES),
            });
        }
        for _ in 0..count {
            match stream.name(WHAT)?.as_slice() {
                MAPPED_RAM => self.mapped_ram = true,
                IGNORE_SHARED => self.ignore_shared = true,
                _ => {}
            }
        }
        Ok(())
    }
}
