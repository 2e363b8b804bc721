//! Where RAM lies: a PC has a hole below 4 GiB, and the stream does not say where it begins.
//!
//! ```text
//! RAM of the stream   |------ low ------|--- the rest ---|
//! guest-physical      |------ low ------| hole    4 GiB|--- the rest ---|
//! ```
//!
//! In this order: what the caller says; the CMOS, where firmware reads both sizes (QEMU, `hw/i386/pc.c`,
//! `pc_cmos_init`), if they add up; the machine type's rule.
//!
//! Sources of the rules: QEMU 10.0.2, `hw/i386/pc_piix.c` (`pc_init1`), `pc_q35.c` (`pc_q35_init`), `microvm.c`;
//! those of `pc` since 1.7, of `pc` and `q35` since 2.3 were seen in QEMU's own dumps of the same guest:
//! docs/formats/qemu-stream.md.

use crate::address::{PAGE_SIZE, Pfn};
use crate::container::{pc, raw};
use crate::error::Result;
use crate::format::qemu_stream::cmos;
use crate::format::u16_at;
use crate::memory::Frames;

/// The unit of the CMOS' numbers.
const UNIT: u64 = 64 << 10;

/// From how much RAM on a machine has a hole, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    from: u64,
    low: u64,
}

/// i440fx since 2.0: whole GiB.
const PIIX: Rule = Rule {
    from: 0xe000_0000,
    low: 0xc000_0000,
};
/// i440fx until 1.7, and Red Hat's `rhel6`.
const PIIX_OLD: Rule = Rule {
    from: 0xe000_0000,
    low: 0xe000_0000,
};
/// q35 since 2.0.
const Q35: Rule = Rule {
    from: 0xb000_0000,
    low: 0x8000_0000,
};
/// q35 until 1.7.
const Q35_OLD: Rule = Rule {
    from: 0xb000_0000,
    low: 0xb000_0000,
};
const MICROVM: Rule = Rule {
    from: 0xc000_0001,
    low: 0xc000_0000,
};

/// The rule of a machine type.
fn rule(machine: &str) -> Option<Rule> {
    let is_old = |version: &str| version.starts_with("0.") || version.starts_with("1.");
    if let Some(version) = machine.strip_prefix("pc-q35-") {
        return Some(if is_old(version) { Q35_OLD } else { Q35 });
    }
    if machine.starts_with("rhel6") {
        return Some(PIIX_OLD);
    }
    if machine == "microvm" {
        return Some(MICROVM);
    }
    let version = machine
        .strip_prefix("pc-i440fx-")
        .or_else(|| machine.strip_prefix("pc-"))?;
    Some(if is_old(version) { PIIX_OLD } else { PIIX })
}

/// Where RAM lies.
#[derive(Debug)]
pub(super) struct Split {
    /// Holes, in ascending order.
    pub(super) holes: Vec<Frames>,
    /// How that is known.
    pub(super) from: String,
    pub(super) warning: Option<String>,
}

impl Split {
    /// For this many bytes of RAM.
    pub(super) fn new(
        ram: u64,
        machine: Option<&str>,
        nvram: Option<&[u8]>,
        asked: &[Frames],
    ) -> Result<Self> {
        if !asked.is_empty() {
            return Ok(Self {
                holes: raw::sorted(asked)?,
                from: "as asked".to_owned(),
                warning: None,
            });
        }
        let known = machine.and_then(rule);
        let ruled = known.unwrap_or(PIIX);
        let low = if ram >= ruled.from { ruled.low } else { ram };
        let (low, from, warning) = match (nvram.and_then(|nvram| from_cmos(ram, nvram)), machine) {
            (Some(told), _) => (told, "the CMOS".to_owned(), None),
            (None, Some(machine)) if known.is_some() => {
                (low, format!("the rule of {machine}"), None)
            }
            (None, _) if ram < Q35.from => (low, "all of it below 4 GiB".to_owned(), None),
            (None, _) => (
                low,
                "the rule of pc".to_owned(),
                Some(format!(
                    "nothing tells where the hole below 4 GiB begins: taken as {low:#x}, as of -M pc; other machines have 0x80000000, 0xb0000000 or 0xe0000000"
                )),
            ),
        };
        let holes = if low < ram {
            let start = Pfn::new(low / PAGE_SIZE);
            vec![Frames::between(start, pc::FOUR_GIB)]
        } else {
            Vec::new()
        };
        Ok(Self {
            holes,
            from,
            warning,
        })
    }
}

/// Bytes below 4 GiB as the CMOS has them, if both of its numbers agree with the RAM.
fn from_cmos(ram: u64, nvram: &[u8]) -> Option<u64> {
    let above = nvram.get(cmos::ABOVE_4G..)?.first_chunk::<3>()?;
    let [a, b, c] = above.map(u64::from);
    let high = (a | b << 8 | c << 16).checked_mul(UNIT)?;
    let low = ram.checked_sub(high)?;
    let told = u64::from(u16_at(nvram, cmos::ABOVE_16M)?).checked_mul(UNIT)?;
    let expected = low.saturating_sub(16 << 20);
    let expected = expected.saturating_sub(expected % UNIT);
    (told == expected && low <= pc::FOUR_GIB.gpa().get() && (told, high) != (0, 0)).then_some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low(ram: u64, machine: Option<&str>, nvram: Option<&[u8]>) -> u64 {
        let split = Split::new(ram, machine, nvram, &[]).unwrap();
        split
            .holes
            .first()
            .map_or(ram, |hole| hole.first.gpa().get())
    }

    /// What QEMU 7.2.22 and 10.0.2 show in `info mtree` for these.
    #[test]
    fn machines_split_their_ram_as_qemu_shows() {
        const MIB: u64 = 1 << 20;
        for (machine, mib, wanted) in [
            ("pc-i440fx-7.2", 3583, 3583 * MIB),
            ("pc-i440fx-7.2", 3584, 0xc000_0000),
            ("pc-i440fx-10.0", 4096, 0xc000_0000),
            ("pc-i440fx-1.7", 4096, 0xe000_0000),
            ("pc-q35-7.2", 2815, 2815 * MIB),
            ("pc-q35-7.2", 2816, 0x8000_0000),
            ("pc-q35-10.0", 4096, 0x8000_0000),
            ("pc-q35-9.0+pve0", 4096, 0x8000_0000),
            ("pc-i440fx-rhel7.6.0", 4096, 0xc000_0000),
        ] {
            assert_eq!(
                low(mib * MIB, Some(machine), None),
                wanted,
                "{machine} -m {mib}"
            );
        }
    }

    #[test]
    fn the_cmos_counts_before_the_rule_if_it_adds_up() {
        let ram = 4 << 30;
        let mut nvram = vec![0; 128];
        nvram[cmos::ABOVE_16M..][..2].copy_from_slice(&0x7f00_u16.to_le_bytes());
        nvram[cmos::ABOVE_4G..][..3].copy_from_slice(&[0, 0x80, 0]);
        assert_eq!(low(ram, Some("pc-i440fx-7.2"), Some(&nvram)), 0x8000_0000);
        nvram[cmos::ABOVE_16M] = 1;
        assert_eq!(low(ram, Some("pc-i440fx-7.2"), Some(&nvram)), 0xc000_0000);
        assert_eq!(low(ram, None, Some(&[0; 3])), 0xc000_0000);
        assert!(Split::new(ram, None, None, &[]).unwrap().warning.is_some());
    }
}
