//! The JSON at the stream's end: how many bytes each device takes, and where the needed fields are.
//!
//! ```text
//! {"devices": [{"name": "cpu", "instance_id": 0, "fields": [{"name": "env.regs", "array_len": 16, "size": 8}, ..],
//!               "subsections": [{"vmsd_name": "cpu/msr", "fields": [..]}]}, ..]}
//! ```
//!
//! It is reduced while it is parsed: of 64 MiB little stays.
//!
//! Source: QEMU, `migration/vmstate.c` (`vmstate_save_state_v`, `vmsd_desc_field_end`): `size` is that of one element.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

/// Bytes of JSON that are accepted; a guest of two vCPUs has 100 KiB.
pub(super) const MAX_BYTES: u32 = 64 << 20;
/// Devices that are accepted.
const MAX_DEVICES: usize = 1 << 16;

/// Fields that are kept.
const WANTED: &[&str] = &[
    "env.regs",
    "env.eip",
    "env.eflags",
    "env.fpuc",
    "env.fpus_vmstate",
    "env.fptag_vmstate",
    "env.fpregs",
    "env.segs",
    "env.ldt",
    "env.tr",
    "env.gdt",
    "env.idt",
    "env.cr[0]",
    "env.cr[2]",
    "env.cr[3]",
    "env.cr[4]",
    "env.dr",
    "env.mxcsr",
    "env.xmm_regs",
    "env.xmm_regs[0]",
    "env.kernelgsbase",
    "cmos_data",
];

/// A field in a device's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    /// From the data's start.
    pub(super) offset: u64,
    /// Bytes of an element.
    pub(super) size: u64,
    /// Elements.
    pub(super) count: u64,
}

/// A device's data.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) bytes: u64,
    fields: Vec<Field>,
}

impl Device {
    /// The field of this name, if it has such elements.
    pub(super) fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|field| field.name == name).copied()
    }
}

/// Devices by name and instance.
#[derive(Debug, Default)]
pub(super) struct Description {
    devices: BTreeMap<(String, u32), Device>,
}

impl Description {
    /// `None` if it is not such JSON.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let whole: Whole = serde_json::from_slice(json).ok()?;
        Some(whole.devices)
    }

    pub(super) fn device(&self, name: &[u8], instance: u32) -> Option<&Device> {
        let name = String::from_utf8(name.to_vec()).ok()?;
        self.devices.get(&(name, instance))
    }
}

#[derive(Deserialize)]
struct Whole {
    devices: Description,
}

#[derive(Deserialize)]
struct RawDevice<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    instance_id: u32,
    #[serde(default)]
    fields: Fields,
    #[serde(default)]
    subsections: Subsections,
}

#[derive(Deserialize)]
struct RawField<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    size: u64,
    #[serde(default = "one")]
    array_len: u64,
}

#[derive(Deserialize)]
struct RawSubsection<'a> {
    #[serde(borrow)]
    vmsd_name: Cow<'a, str>,
    #[serde(default)]
    fields: Fields,
    #[serde(default)]
    subsections: Subsections,
}

const fn one() -> u64 {
    1
}

/// Bytes of all fields, and those that are wanted.
#[derive(Default)]
struct Fields {
    bytes: u64,
    wanted: Vec<Field>,
}

/// Bytes of all subsections, with their headers.
#[derive(Default)]
struct Subsections {
    bytes: u64,
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Devices)
    }
}

struct Devices;

impl<'de> Visitor<'de> for Devices {
    type Value = Description;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("devices")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Description, A::Error> {
        let mut all = Description::default();
        while let Some(raw) = seq.next_element::<RawDevice<'de>>()? {
            if all.devices.len() >= MAX_DEVICES || raw.name.len() > 255 {
                return Err(A::Error::custom("too much of it"));
            }
            let device = Device {
                bytes: raw.fields.bytes.saturating_add(raw.subsections.bytes),
                fields: raw.fields.wanted,
            };
            let key = (raw.name.into_owned(), raw.instance_id);
            all.devices.insert(key, device);
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FieldList)
    }
}

struct FieldList;

impl<'de> Visitor<'de> for FieldList {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Fields, A::Error> {
        let mut all = Fields::default();
        while let Some(raw) = seq.next_element::<RawField<'de>>()? {
            let known = WANTED.iter().find(|name| **name == raw.name);
            if let Some(name) = known.filter(|_| all.wanted.len() < WANTED.len()) {
                all.wanted.push(Field {
                    name,
                    offset: all.bytes,
                    size: raw.size,
                    count: raw.array_len,
                });
            }
            let bytes = raw.size.saturating_mul(raw.array_len);
            all.bytes = all.bytes.saturating_add(bytes);
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Subsections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SubsectionList)
    }
}

struct SubsectionList;

impl<'de> Visitor<'de> for SubsectionList {
    type Value = Subsections;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("subsections")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Subsections, A::Error> {
        /// Mark, length of the name, version.
        const HEADER: u64 = 6;
        let mut all = Subsections::default();
        while let Some(raw) = seq.next_element::<RawSubsection<'de>>()? {
            let parts = [
                HEADER,
                raw.vmsd_name.len() as u64,
                raw.fields.bytes,
                raw.subsections.bytes,
            ];
            all.bytes = parts.into_iter().fold(all.bytes, u64::saturating_add);
        }
        Ok(all)
    }
}
