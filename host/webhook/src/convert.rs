//! The envelope of conversion, and what the API server demands of an answer.

use bytes::Bytes;
use operator_core::{Document, DocumentError, Identity};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::review::{Malformed, open, part};

/// The one version of the envelope that is spoken.
const VERSION: &str = "apiextensions.k8s.io/v1";

/// One request to convert objects.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    /// Has to be in the answer.
    pub(crate) uid: String,
    /// The version that is wanted: `group/version`.
    pub(crate) wanted: String,
    /// The objects, all of one kind.
    pub(crate) objects: Vec<Document>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    uid: String,
    #[serde(rename = "desiredAPIVersion")]
    wanted: String,
    #[serde(borrow, default)]
    objects: Vec<&'a RawValue>,
}

/// Why objects are not converted. Its text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconverted {
    #[error("object {index}: {source}")]
    Object { index: usize, source: DocumentError },
    #[error("no module converts {kind} of {group}; load the module that serves it")]
    Nobody { group: String, kind: String },
    #[error("the request has objects of several kinds; send one kind at a time")]
    Mixed,
    #[error("{0}")]
    Failed(#[from] operator_core::Failure),
    #[error("module {module} answers {given} objects to {asked}; it has to answer each, in order")]
    Number { module: String, asked: usize, given: usize },
    #[error("module {module} changes {what} of object {index}; only spec, status, labels and annotations may change")]
    Changed { module: String, index: usize, what: &'static str },
    #[error("the module did not answer within {seconds} s; convert fewer objects at once, or give the host more CPU")]
    Late { seconds: u64 },
}

impl Conversion {
    /// Reads the envelope.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, Malformed> {
        let wire: Wire<'_> = open(body, VERSION, "ConversionReview")?;
        let objects = wire.objects.into_iter().map(|raw| part(body, raw)).collect();
        Ok(Self { uid: wire.uid, wanted: wire.wanted, objects })
    }

    /// The identities of the objects, and group and kind that they share.
    pub(crate) fn identities(&self) -> Result<(Vec<Identity>, String, String), Unconverted> {
        let read = |(index, object): (usize, &Document)| {
            object.identity().map_err(|source| Unconverted::Object { index, source })
        };
        let identities = self.objects.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let of = |identity: &Identity| (identity.object_ref().group().to_owned(), identity.kind.clone());
        let (group, kind) = identities.first().map(of).unwrap_or_default();
        if identities.iter().any(|identity| of(identity) != (group.clone(), kind.clone())) {
            return Err(Unconverted::Mixed);
        }
        Ok((identities, group, kind))
    }

    /// Holds an answer against what the API server demands, so that a wrong one is told in the module's name.
    pub(crate) fn check(&self, module: &str, before: &[Identity], after: &[Document]) -> Result<(), Unconverted> {
        if before.len() != after.len() {
            return Err(Unconverted::Number { module: module.to_owned(), asked: before.len(), given: after.len() });
        }
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            let after = after.identity().map_err(|source| Unconverted::Object { index, source })?;
            let what = [
                (after.api_version == self.wanted, "apiVersion to another than the wanted one, or the metadata,"),
                (after.kind == before.kind, "kind"),
                (after.metadata.name == before.metadata.name, "metadata.name"),
                (after.metadata.namespace == before.metadata.namespace, "metadata.namespace"),
                (after.metadata.uid == before.metadata.uid, "metadata.uid"),
            ];
            if let Some((_, what)) = what.into_iter().find(|(same, _)| !same) {
                return Err(Unconverted::Changed { module: module.to_owned(), index, what });
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    result: Outcome,
    converted_objects: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Outcome {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The answer as JSON: all objects, or why there are none.
pub(crate) fn write(uid: &str, result: Result<&[Document], &Unconverted>) -> Vec<u8> {
    let raw = |(index, document): (usize, &'_ Document)| -> Result<Box<RawValue>, Unconverted> {
        serde_json::from_slice(document.bytes())
            .map_err(|source| Unconverted::Object { index, source: DocumentError::Json { source } })
    };
    let converted = match result {
        Ok(objects) => objects.iter().enumerate().map(raw).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (objects, message) = match converted {
        Ok(objects) => (objects, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let status = if message.is_none() { "Success" } else { "Failure" };
    let response = Response {
        uid,
        result: Outcome { status, message },
        converted_objects: objects.iter().map(|o| &**o).collect(),
    };
    // Texts and documents that were just read: writing them to memory cannot fail.
    serde_json::to_vec(&Sent { api_version: VERSION, kind: "ConversionReview", response }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(version: &str, name: &str) -> Value {
        json!({"apiVersion": format!("example.org/{version}"), "kind": "Thing",
            "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")}})
    }

    fn conversion(objects: &[Value]) -> Conversion {
        let review = json!({"apiVersion": VERSION, "kind": "ConversionReview",
            "request": {"uid": "u", "desiredAPIVersion": "example.org/v2", "objects": objects}});
        Conversion::parse(&Bytes::from(review.to_string())).unwrap()
    }

    fn checked(before: &[Value], after: &[Value]) -> Result<(), String> {
        let conversion = conversion(before);
        let (identities, ..) = conversion.identities().unwrap();
        let after: Vec<Document> = after.iter().map(Document::from_value).collect();
        conversion.check("m", &identities, &after).map_err(|error| error.to_string())
    }

    #[test]
    fn objects_in_the_wanted_version_and_order_are_fine() {
        let before = [object("v1", "a"), object("v1", "b")];
        assert_eq!(checked(&before, &[object("v2", "a"), object("v2", "b")]), Ok(()));
    }

    #[test]
    fn another_order_number_or_version_is_refused_in_the_modules_name() {
        let before = [object("v1", "a"), object("v1", "b")];
        for wrong in [
            vec![object("v2", "b"), object("v2", "a")],
            vec![object("v2", "a")],
            vec![object("v1", "a"), object("v2", "b")],
        ] {
            assert!(checked(&before, &wrong).unwrap_err().starts_with("module m "));
        }
    }

    #[test]
    fn five_thousand_objects_keep_their_number_and_order() {
        let before: Vec<Value> = (0..5000).map(|i| object("v1", &format!("o{i}"))).collect();
        let after: Vec<Document> = (0..5000).map(|i| Document::from_value(&object("v2", &format!("o{i}")))).collect();
        let conversion = conversion(&before);
        let (identities, group, kind) = conversion.identities().unwrap();
        assert_eq!((group.as_str(), kind.as_str()), ("example.org", "Thing"));
        conversion.check("m", &identities, &after).unwrap();
        let sent: Value = serde_json::from_slice(&write("u", Ok(&after))).unwrap();
        assert_eq!(sent["response"]["convertedObjects"][4999]["metadata"]["name"], "o4999");
        assert_eq!(sent["response"]["result"]["status"], "Success");
    }

    #[test]
    fn a_failure_is_an_answer_with_its_text() {
        let sent: Value = serde_json::from_slice(&write("u", Err(&Unconverted::Mixed))).unwrap();
        assert_eq!((&sent["response"]["uid"], &sent["response"]["result"]["status"]), (&json!("u"), &json!("Failure")));
    }
}
