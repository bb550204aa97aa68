//! Durations as Go writes them: `24h0m0s`, `60s`, `1.5h`.

/// What a unit is in seconds.
const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The whole seconds of a duration; none for a text that is no duration, or one that is longer than any clock runs.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total) = (text, 0.0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just here")]
    (total < 1e12).then_some(total as i64)
}

/// Seconds as Go writes them.
pub(crate) fn text(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{minutes}m{rest}s")
    } else {
        format!("{rest}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [("24h0m0s", 86_400), ("60s", 60), ("1.5h", 5400), ("1m30s", 90), ("1500ms", 1)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "60", "s", "1 h", "-1s", "1d", "99999999999999999h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for duration in [0, 59, 300, 3600, 86_461] {
            assert_eq!(seconds(&text(duration)), Some(duration));
        }
        assert_eq!(text(300), "5m0s");
    }
}
