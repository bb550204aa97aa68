//! How long one answer may take.

use std::time::Duration;

/// Left of the API server's patience for the way back.
const MARGIN: Duration = Duration::from_secs(1);

/// How long an answer may take: the shorter of the API server's patience (`?timeout=`) and ours, less what the way back takes.
pub(crate) fn within(query: &str, longest: Duration) -> Duration {
    let given = query.split('&').find_map(|pair| duration(pair.strip_prefix("timeout=")?));
    let patience = given.map_or(longest, |given| given.min(longest));
    if patience >= MARGIN * 2 { patience.saturating_sub(MARGIN) } else { patience / 2 }
}

/// A duration as Go writes it: `1m30s`, `500ms`. None when it is anything else.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 6] = [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn the_api_servers_patience_counts_when_it_is_shorter_than_ours() {
        assert_eq!(within("timeout=5s", LONGEST), Duration::from_secs(4));
        assert_eq!(within("a=b&timeout=1m30s", LONGEST), Duration::from_secs(9));
        assert_eq!(within("", LONGEST), Duration::from_secs(9));
    }

    #[test]
    fn little_patience_is_halved() {
        assert_eq!(within("timeout=1s", LONGEST), Duration::from_millis(500));
        assert_eq!(within("timeout=300ms", LONGEST), Duration::from_millis(150));
    }

    #[test]
    fn what_is_no_duration_counts_as_nothing() {
        for odd in ["", "s", "5", "-5s", "5 s", "5x", "99999999999999999999999h", "0s", "1.2.3s", "\u{fc}s"] {
            assert_eq!(duration(odd), None, "{odd}");
        }
    }
}
