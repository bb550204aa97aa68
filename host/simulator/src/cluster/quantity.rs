//! Quantities such as `500m` and `10Gi`: their value, and the form in which a server stores them.

use operator_core::diff;
use serde_json::Value;

/// Units with their value in thousandths, the largest first.
const BINARY: [(&str, i128); 4] = [("Ti", 1000 << 40), ("Gi", 1000 << 30), ("Mi", 1000 << 20), ("Ki", 1000 << 10)];
const DECIMAL: [(&str, i128); 4] =
    [("T", 1_000_000_000_000_000), ("G", 1_000_000_000_000), ("M", 1_000_000_000), ("k", 1_000_000)];

/// The value in thousandths.
pub(crate) fn parse(quantity: &Value) -> Option<i128> {
    diff::quantity(&text(quantity))
}

/// The form in which a server stores it: the largest unit of its system that leaves a whole number. What is no quantity stays.
pub(crate) fn canonical(quantity: &Value) -> Value {
    let text = text(quantity);
    let Some(value) = diff::quantity(&text) else { return quantity.clone() };
    if value == 0 {
        return "0".into();
    }
    let units = if text.ends_with('i') { BINARY } else { DECIMAL };
    let whole = |unit: &(&str, i128)| value % unit.1 == 0;
    let (suffix, unit) = units.into_iter().chain([("", 1000)]).find(whole).unwrap_or(("m", 1));
    format!("{}{suffix}", value / unit).into()
}

fn text(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_of_different_units_compare() {
        assert_eq!(parse(&json!("1Gi")), parse(&json!("1024Mi")));
        assert_eq!(parse(&json!(2)), parse(&json!("2000m")));
        assert!(parse(&json!("1G")) < parse(&json!("1Gi")));
    }

    #[test]
    fn quantities_are_stored_in_their_largest_whole_unit() {
        let stored = |quantity: Value| canonical(&quantity).as_str().map(str::to_owned).unwrap_or_default();
        assert_eq!(stored(json!("1024Mi")), "1Gi");
        assert_eq!(stored(json!("1.5Gi")), "1536Mi");
        assert_eq!(stored(json!("0.5")), "500m");
        assert_eq!(stored(json!("1000m")), "1");
        assert_eq!(stored(json!(20)), "20");
        assert_eq!(stored(json!("20000")), "20k");
        assert_eq!(stored(json!("0Gi")), "0");
    }

    #[test]
    fn what_is_no_quantity_is_left_alone() {
        for text in ["", "Gi", "1Zi", "ten"] {
            assert_eq!((parse(&json!(text)), canonical(&json!(text))), (None, json!(text)), "{text:?}");
        }
    }
}
