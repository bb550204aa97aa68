//! Quantities as Kubernetes writes them: one number has several texts, and the API server stores another one than it is given.

/// What a suffix multiplies by.
const FACTORS: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The number; none for a text that is no quantity.
pub fn number(text: &str) -> Option<f64> {
    let plain = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    plain(text)
        .or_else(|| FACTORS.iter().find_map(|(suffix, factor)| Some(plain(text.strip_suffix(*suffix)?)? * factor)))
}

/// Whether both mean the same number.
pub fn is_same(one: &str, other: &str) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => (one - other).abs() <= one.abs().max(other.abs()) * 1e-9,
        _ => one == other,
    }
}

/// Both together, with the largest binary suffix that fits; none for texts that are no quantities, or too large ones.
pub fn sum(one: &str, other: &str) -> Option<String> {
    let sum = (number(one)? + number(other)?).round();
    if !(0.0..=9e15).contains(&sum) {
        return None;
    }
    let fits = |factor: &f64| (sum / factor).fract() == 0.0 && sum >= *factor;
    let binary = FACTORS.iter().filter(|(suffix, _)| suffix.ends_with('i')).rev().find(|(_, factor)| fits(factor));
    Some(binary.map_or_else(|| format!("{sum}"), |(suffix, factor)| format!("{}{suffix}", sum / factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_written_as_people_would() {
        for (one, other, sum_of_both) in
            [("1Gi", "1Gi", "2Gi"), ("1Gi", "512Mi", "1536Mi"), ("1G", "1", "1000000001"), ("1Ti", "1Ti", "2Ti")]
        {
            assert_eq!(sum(one, other).as_deref(), Some(sum_of_both));
        }
        assert_eq!(sum("lots", "1Gi"), None);
        assert_eq!(sum("9E", "1Gi"), None);
    }

    #[test]
    fn one_number_has_several_texts() {
        for (one, other) in
            [("1", "1000m"), ("1.5Gi", "1536Mi"), ("1e3", "1k"), ("0.1", "100m"), ("128974848", "123Mi")]
        {
            assert!(is_same(one, other), "{one} {other}");
        }
        assert!(!is_same("1", "2") && !is_same("1M", "1Mi") && !is_same("0", "1"));
    }

    #[test]
    fn what_is_no_number_is_no_quantity() {
        for text in ["", "lots", "1 Gi", "1GiB", "inf", "nan", "Mi", "1kk"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
