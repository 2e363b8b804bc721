//! A hole of raw memory, as it is written on the command line.

use core2dmp::address::{PAGE_SIZE, Pfn};
use core2dmp::memory::Frames;

/// `START-END`, the end exclusive: hex, or a number with K, M or G behind it; `none`: the file is read by address.
pub(super) fn parse(text: &str) -> Result<Frames, String> {
    if text == "none" {
        return Ok(Frames::new(Pfn::new(0), 0));
    }
    let (start, end) = text
        .split_once('-')
        .ok_or("expected START-END, such as 0xc0000000-0x100000000 or 3G-4G")?;
    let (start, end) = (address(start)?, address(end)?);
    if start >= end {
        return Err(format!(
            "the end {end:#x} is not after the start {start:#x}"
        ));
    }
    if !(start % PAGE_SIZE == 0 && end % PAGE_SIZE == 0) {
        return Err("a hole starts and ends at a multiple of 4096".to_owned());
    }
    let frame = |address: u64| Pfn::new(address / PAGE_SIZE);
    if frame(end) > Pfn::END {
        return Err(format!("{end:#x} is beyond what a processor can address"));
    }
    Ok(Frames::between(frame(start), frame(end)))
}

fn address(text: &str) -> Result<u64, String> {
    let text = text.trim().replace('`', "");
    let (number, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text.as_str()), 0),
    };
    let number = number.unwrap_or_default();
    let hex = number
        .strip_prefix("0x")
        .or_else(|| number.strip_prefix("0X"));
    let value = match hex {
        Some(hex) => u64::from_str_radix(hex, 16),
        // With a unit people count in tens.
        None if shift > 0 => number.parse(),
        None => u64::from_str_radix(number, 16),
    };
    value
        .ok()
        .and_then(|value| value.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is not an address: hex, or a number with K, M or G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_read_in_every_notation() {
        let hole = Ok(Frames::between(Pfn::new(0xc_0000), Pfn::new(0x10_0000)));
        for text in [
            "0xc0000000-0x100000000",
            "c0000000-100000000",
            "3G-4G",
            "0x3g-4096M",
            "0xc0000000-1`00000000",
        ] {
            assert_eq!(parse(text), hole, "{text}");
        }
        for wrong in [
            "",
            "3G",
            "4G-3G",
            "0-0",
            "0x10-0x1000",
            "x-y",
            "-",
            "0-fffffffffffff000",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("0-99999999999999999G").is_err());
    }
}
