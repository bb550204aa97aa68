//! What modules read of other objects: only the fields that matter, so that reading costs little.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Deserializer};

use crate::template::Template;

/// Reads `null` like a field that is not there: both mean the same in Kubernetes, and an object cut to some fields may have
/// either. For `#[serde(deserialize_with)]`, beside `default`.
pub fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Option::deserialize(input).map(Option::unwrap_or_default)
}

/// A `DaemonSet`.
#[derive(Deserialize)]
pub struct ObservedDaemonSet {
    pub metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    pub spec: DaemonSetSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub status: DaemonSetStatus,
}

impl ObservedDaemonSet {
    /// The status, once its controller has seen the latest change.
    pub fn current_status(&self) -> Option<&DaemonSetStatus> {
        let seen = self.status.observed_generation?;
        self.metadata.generation.is_none_or(|generation| seen >= generation).then_some(&self.status)
    }
}

/// What a `DaemonSet` was made with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct DaemonSetSpec {
    #[serde(deserialize_with = "or_default")]
    pub template: Template,
}

/// Counts of a `DaemonSet`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    pub observed_generation: Option<i64>,
    pub desired_number_scheduled: i32,
    pub number_available: i32,
    pub updated_number_scheduled: i32,
}

/// The metadata that matters.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    pub uid: String,
    pub generation: Option<i64>,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// One condition of a node.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct NodeCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
}

/// Whether the kubelet of a node is there; true when the node says nothing of that.
pub fn is_node_ready(conditions: &[NodeCondition]) -> bool {
    conditions.iter().find(|condition| condition.type_ == "Ready").is_none_or(|condition| condition.status == "True")
}

/// Unix seconds of a time as Kubernetes writes it (RFC 3339 in UTC, whole seconds or finer). None for anything else.
pub fn unix_seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    // Days since 1970-01-01 of the civil calendar, with years that start in March so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    Some(days * 86_400 + seconds)
}

/// A time as Kubernetes writes it, from Unix seconds; none for times that no calendar holds.
pub fn time(unix_seconds: i64) -> Option<Time> {
    Timestamp::from_second(unix_seconds).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_the_seconds_it_was_made_of() {
        for seconds in [0, 951_782_400, 1_700_003_580] {
            let text = serde_json::to_value(time(seconds)).unwrap_or_default();
            assert_eq!(text.as_str().and_then(unix_seconds), Some(seconds), "{text}");
        }
    }
}
