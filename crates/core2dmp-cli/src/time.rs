//! Windows' times, as a person reads them.

use jiff::Timestamp;

/// Units of a FILETIME (100 ns) in a second.
const PER_SECOND: u64 = 10_000_000;
/// Seconds from 1601-01-01, where FILETIME starts, to 1970-01-01.
const EPOCH: i64 = 11_644_473_600;

/// A FILETIME as a UTC date to the second; `None` if no calendar has it.
pub(crate) fn utc(filetime: u64) -> Option<String> {
    let seconds = i64::try_from(filetime / PER_SECOND).ok()?;
    let time = Timestamp::from_second(seconds.checked_sub(EPOCH)?).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A duration in 100 ns in whole seconds.
pub(crate) const fn seconds(units: u64) -> u64 {
    units / PER_SECOND
}

/// A duration in 100 ns as days, hours, minutes and seconds.
pub(crate) fn duration(units: u64) -> String {
    let seconds = seconds(units);
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts.iter().skip(first);
    shown
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // Unix time 0, and one second more; the fraction is cut off.
        assert_eq!(
            utc(116_444_736_000_000_000).as_deref(),
            Some("1970-01-01 00:00:00 UTC")
        );
        assert_eq!(
            utc(116_444_736_019_999_999).as_deref(),
            Some("1970-01-01 00:00:01 UTC")
        );
        assert_eq!(utc(0).as_deref(), Some("1601-01-01 00:00:00 UTC"));
        assert_eq!(utc(u64::MAX), None);
    }

    #[test]
    fn durations() {
        assert_eq!(duration(0), "0s");
        assert_eq!(duration(61 * PER_SECOND), "1m 1s");
        assert_eq!(duration(90_000 * PER_SECOND), "1d 1h 0m 0s");
    }
}
