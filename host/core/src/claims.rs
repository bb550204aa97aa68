//! `metadata.managedFields`: who claims which field of an object. Often half of its text, and nothing that a module decides by.

use std::ops::Range;

use crate::Document;

impl Document {
    /// The same object with an empty list of claims; itself when it has none, or is no JSON object.
    ///
    /// Nothing but the text before the claims and the claims themselves is looked at: a whole object is read once, in the module.
    #[must_use]
    pub fn without_claims(&self) -> Self {
        let text = self.bytes();
        let Some(claims) = claims(text) else { return self.clone() };
        let (Some(before), Some(after)) = (text.get(..claims.start), text.get(claims.end..)) else {
            return self.clone();
        };
        Self::new([before, b"[]", after].concat())
    }
}

/// Where the value of `metadata.managedFields` stands.
fn claims(text: &[u8]) -> Option<Range<usize>> {
    let mut scan = Scan { text, at: 0 };
    scan.member(b"metadata")?;
    scan.member(b"managedFields")?;
    let start = scan.at;
    scan.value()?;
    Some(start..scan.at)
}

/// Walks over JSON without judging it: whoever reads it afterwards does.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Goes to the value of a member of the object that begins here.
    fn member(&mut self, name: &[u8]) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            if key == name {
                self.space();
                return Some(());
            }
            self.value()?;
            self.expect(b',')?;
        }
    }

    /// Goes behind the value that begins here.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.scalar()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Goes behind a number or a word.
    fn scalar(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        self.at += length;
        (length > 0).then_some(())
    }

    /// The string that begins here, as it is written.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let mut escaped = false;
        let length = rest.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        self.at += length + 1;
        rest.get(..length)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn cut(text: &str) -> String {
        String::from_utf8(Document::new(text.to_owned()).without_claims().bytes().to_vec()).unwrap()
    }

    #[test]
    fn only_the_claims_are_cut() {
        let text = r#"{ "a" : [1, {"metadata": 2}], "metadata": {"name": "x\"managedFields\":", "managedFields": [ {"f:a": {"]": "}"}} ], "uid": "u"}, "z": 1e2 }"#;
        assert_eq!(cut(text), text.replace(r#"[ {"f:a": {"]": "}"}} ]"#, "[]"));
    }

    #[test]
    fn a_field_of_that_name_elsewhere_stays() {
        for text in [
            r#"{"managedFields": [1], "metadata": {"name": "x", "labels": {"managedFields": "y"}}, "spec": {"metadata": {"managedFields": [1]}}}"#,
            r#"{"spec": {"managedFields": [1]}}"#,
        ] {
            assert_eq!(cut(text), text);
        }
    }

    #[test]
    fn what_is_no_object_stays_as_it_is() {
        for text in ["", "[", "{", r#"{"metadata": null}"#, r#"{"metadata": {"managedFields": "#] {
            assert_eq!(cut(text), text);
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
            let key = prop_oneof![Just("metadata".to_owned()), Just("managedFields".to_owned()), ".{0,6}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_loses_its_claims_and_nothing_else(object in anything(), pretty in proptest::bool::ANY) {
            let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
            let mut wanted = object;
            if let Some(claims) = wanted.pointer_mut("/metadata/managedFields") {
                *claims = json!([]);
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&cut(&text)).unwrap(), wanted);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Document::new(bytes).without_claims());
        }
    }
}
