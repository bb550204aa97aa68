//! Objects of a review as modules get them: without what no module decides by, which is often most of their text.

use std::{borrow::Cow, fmt};

use operator_core::Document;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of a JSON object, as they are written and in their order.
///
/// A review is walked over once, and this is what that leaves of an object: what is cut out is not looked at again.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(&'a str, &'a RawValue)>);

impl Members<'_> {
    /// The object with an empty list of field claims, with nothing in the annotation of `kubectl apply`, and with its status only if that is
    /// asked for. A member whose name is written with escapes, as no API server does, stays as it is.
    pub(crate) fn document(&self, status: bool) -> Document {
        let members = self.0.iter().filter(|(name, _)| status || *name != r#""status""#);
        let text = written(members.map(|&(name, value)| match name {
            r#""metadata""# => (
                name,
                with_less(value.get(), |name, value| match name {
                    r#""managedFields""# => "[]".into(),
                    r#""annotations""# => {
                        with_less(value, |name, value| if name == LAST_APPLIED { "\"\"".into() } else { value.into() })
                    }
                    _ => value.into(),
                }),
            ),
            _ => (name, Cow::Borrowed(value.get())),
        }));
        Document::new(text)
    }
}

/// In it `kubectl apply` keeps what it was given: the whole object once more, and values that the object itself may no longer have.
const LAST_APPLIED: &str = r#""kubectl.kubernetes.io/last-applied-configuration""#;

/// The text of an object with each value as `left` leaves it; what is no object stays.
fn with_less<'a>(text: &'a str, left: impl Fn(&str, &'a str) -> Cow<'a, str>) -> Cow<'a, str> {
    match serde_json::from_str::<Members<'a>>(text) {
        Ok(Members(members)) => {
            written(members.into_iter().map(|(name, value)| (name, left(name, value.get())))).into()
        }
        Err(_) => text.into(),
    }
}

fn written<'a>(members: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        text.push_str(&value);
    }
    text.push('}');
    text
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                // A custom resource has five.
                let mut members = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((name.get(), value));
                }
                Ok(Members(members))
            }
        }

        reader.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    fn cut(text: &str, status: bool) -> String {
        let members: Members<'_> = serde_json::from_str(text).unwrap();
        String::from_utf8(members.document(status).bytes().to_vec()).unwrap()
    }

    #[test]
    fn only_the_claims_are_cut_where_the_status_is_wanted() {
        let text = r#"{"a":[1,{"metadata":2}],"metadata":{"name":"x\"managedFields\":","managedFields":[ {"f:a": {"]": "}"}} ],"uid":"u"},"status":{"z": 1e2 }}"#;
        assert_eq!(cut(text, true), text.replace(r#"[ {"f:a": {"]": "}"}} ]"#, "[]"));
    }

    #[test]
    fn a_status_is_cut_wherever_it_stands_and_nothing_else_of_that_name() {
        assert_eq!(
            cut(r#"{"status":{"a":["}"]},"spec":{"status":1},"z":1e2}"#, false),
            r#"{"spec":{"status":1},"z":1e2}"#
        );
        assert_eq!(cut(r#"{"spec":1,"status":null}"#, false), r#"{"spec":1}"#);
        assert_eq!(cut(r#"{"status":"x"}"#, false), "{}");
    }

    #[test]
    fn what_kubectl_keeps_in_its_annotation_is_cut() {
        let text = r#"{"metadata":{"annotations":{"a":"b","kubectl.kubernetes.io/last-applied-configuration":"{\"metadata\":{}}\n","z":""}}}"#;
        assert_eq!(cut(text, true), text.replace(r#""{\"metadata\":{}}\n""#, "\"\""));
    }

    #[test]
    fn annotations_that_are_none_stay() {
        for text in [
            r#"{"metadata":{"annotations":null}}"#,
            r#"{"metadata":{"annotations":[{"kubectl.kubernetes.io/last-applied-configuration":"x"}]}}"#,
        ] {
            assert_eq!(cut(text, true), text);
        }
    }

    #[test]
    fn claims_elsewhere_stay() {
        for text in [
            r#"{"managedFields":[1],"metadata":{"name":"x","labels":{"managedFields":"y"}},"spec":{"metadata":{"managedFields":[1]}}}"#,
            r#"{"spec":{"managedFields":[1]}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":[{"managedFields":[1]}]}"#,
        ] {
            assert_eq!(cut(text, false), text);
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = prop_oneof![
                Just("metadata"),
                Just("managedFields"),
                Just("annotations"),
                Just(APPLIED),
                Just("status")
            ];
            let key = key.prop_map(str::to_owned);
            let members = prop::collection::hash_map(prop_oneof![key, ".{0,6}"], inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_loses_its_claims_and_status_and_nothing_else(
            members in prop::collection::hash_map(prop_oneof![Just("metadata".to_owned()), Just("status".to_owned()), ".{0,6}"], anything(), 0..4),
            pretty in any::<bool>(),
            status in any::<bool>(),
        ) {
            let mut wanted = Value::Object(members.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&wanted).unwrap() } else { wanted.to_string() };
            if let Some(claims) = wanted.pointer_mut("/metadata/managedFields") {
                *claims = json!([]);
            }
            if let Some(applied) = wanted.pointer_mut("/metadata/annotations").and_then(|map| map.as_object_mut()?.get_mut(APPLIED)) {
                *applied = json!("");
            }
            if !status {
                wanted.as_object_mut().unwrap().remove("status");
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&cut(&text, status)).unwrap(), wanted);
        }
    }
}
