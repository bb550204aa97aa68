//! The Secrets: which are there, which are wanted, and what is between the two.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use kube::{Resource, ResourceExt, core::ObjectMeta};
use operator_guest::{Child, Failure, Readiness, Snapshot, Strategy};
use scone_api::{imagepullsecret::ImagePullSecret, observe::or_default};
use serde::{Deserialize, Serialize};

use crate::{
    others::Others,
    select::Selected,
    source::{self, Merged, TYPE},
};

/// The most Secrets of one `ImagePullSecret`. The names of their namespaces stand in annotations of the resource, which have
/// room for 256 KiB.
pub(crate) const MOST: u32 = 3_000;
/// The most bytes of one answer.
pub(crate) const OUTPUT: u32 = 16 * 1024 * 1024;
/// Of these, what is left for the status, the conditions and the queries.
const RESERVE: usize = 1024 * 1024;
/// What a Secret needs beside its content.
const FRAME: usize = 640;

/// Label that the published operator puts on its Secrets: the uid of their `ImagePullSecret`.
pub(crate) const OWNER: &str = "images.banzaicloud.io/owner-uid";
/// The host's label of members of a set.
pub(crate) const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// The name of the Secret in every namespace.
pub(crate) fn name(parent: &ImagePullSecret) -> &str {
    parent.spec.target.secret.name.as_deref().unwrap_or_default()
}

/// A Secret that this `ImagePullSecret` has made.
pub(crate) struct There<'a> {
    namespace: &'a str,
    name: &'a str,
    document: Document<'a>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow, rename = "type", default)]
    type_: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Data<'a> {
    #[serde(borrow, rename = ".dockerconfigjson", default)]
    config: Cow<'a, str>,
}

impl There<'_> {
    fn is_leaving(&self) -> bool {
        self.document.metadata.deletion_timestamp.is_some()
    }

    fn is(&self, wanted: &Wanted<'_>) -> bool {
        let has = |there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| there.get(key) == Some(value))
        };
        let Document { metadata, type_, data } = &self.document;
        self.name == wanted.name
            && !self.is_leaving()
            && type_.as_deref() == Some(TYPE)
            && data.as_ref().is_some_and(|data| data.config == wanted.data)
            && has(&metadata.labels, &wanted.labels)
            && has(&metadata.annotations, &wanted.annotations)
    }
}

/// The Secrets that are there. What they hold is borrowed, since there may be thousands.
pub(crate) fn there(snapshot: &Snapshot<ImagePullSecret>) -> Result<Vec<There<'_>>, Failure> {
    let secrets = snapshot.observed().iter().filter(|child| child.identity.kind == "Secret");
    secrets
        .map(|child| {
            // Not with the parser's own words: they may quote the Secret.
            let document = serde_json::from_slice(&child.document)
                .map_err(|_| Failure::Retry(format!("{} cannot be read", child.identity)))?;
            let namespace = child.identity.namespace.as_deref().unwrap_or_default();
            Ok(There { namespace, name: &child.identity.name, document })
        })
        .collect()
}

/// What the Secret is in every namespace.
pub(crate) struct Wanted<'a> {
    name: &'a str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    data: &'a str,
}

impl<'a> Wanted<'a> {
    /// What this `ImagePullSecret`, whose spec has its defaults, makes of these credentials.
    pub(crate) fn of(parent: &'a ImagePullSecret, merged: &'a Merged) -> Self {
        let secret = &parent.spec.target.secret;
        let mut labels = secret.labels.clone().unwrap_or_default();
        labels.extend(parent.uid().map(|uid| (OWNER.to_owned(), uid)));
        Self {
            name: name(parent),
            labels,
            annotations: secret.annotations.clone().unwrap_or_default(),
            data: &merged.data,
        }
    }

    /// How many of them fit into one answer.
    fn most(&self) -> usize {
        let text = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| 2 * (key.len() + value.len()) + 8).sum::<usize>()
        };
        let each = FRAME + self.name.len() * 2 + self.data.len() + text(&self.labels) + text(&self.annotations);
        ((OUTPUT as usize - RESERVE) / each).min(MOST as usize)
    }

    fn child(&self, namespace: &str) -> Child {
        let metadata = ObjectMeta {
            name: Some(self.name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        };
        let copy = Copied::new(metadata, self.data);
        // The type of a Secret cannot be changed, and some are immutable as a whole.
        Child::of(&copy).strategy(Strategy::RecreateOnImmutable).readiness(Readiness::Exists)
    }
}

/// A Secret that is written. Its content is one text for all of them, which each would otherwise hold and encode anew.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Copied<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    #[serde(rename = "type")]
    type_: &'static str,
    data: Data<'a>,
}

impl<'a> Copied<'a> {
    fn new(metadata: ObjectMeta, config: &'a str) -> Self {
        let data = Data { config: Cow::Borrowed(config) };
        Self { api_version: "v1", kind: "Secret", metadata, type_: TYPE, data }
    }
}

impl Resource for Copied<'_> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What should exist, and how far that is from what there is.
#[derive(Default)]
pub(crate) struct Copies {
    /// The Secrets.
    pub(crate) children: Vec<Child>,
    /// Namespaces that have one, and keep it.
    pub(crate) managed: Vec<String>,
    /// How many should have one.
    pub(crate) wanted: usize,
    /// How many of these have it as it should be.
    pub(crate) settled: usize,
    /// Secrets that are there, and should not be.
    pub(crate) leftover: Vec<String>,
    /// Namespaces where somebody else's Secret has the name, and whose it is.
    pub(crate) foreign: Vec<(String, String)>,
    /// Namespaces that fit, and for which one answer has no room.
    pub(crate) beyond: usize,
}

impl Copies {
    /// Everything as it is.
    pub(crate) fn kept(there: &[There<'_>]) -> Self {
        let mut copies = Self::default();
        for secret in there {
            copies.keep(secret);
        }
        copies
    }

    /// What these namespaces should have. Without credentials, what is there stays where it is still wanted.
    pub(crate) fn of(there: &[There<'_>], selected: &Selected, others: &Others, wanted: Option<&Wanted<'_>>) -> Self {
        let mut copies = Self::default();
        let Some(wanted) = wanted else {
            for secret in there {
                if selected.namespaces.contains(secret.namespace) {
                    copies.keep(secret);
                } else {
                    copies.leftover.push(format!("{}/{}", secret.namespace, secret.name));
                }
            }
            return copies;
        };
        let own: BTreeMap<&str, &There<'_>> =
            there.iter().filter(|secret| secret.name == wanted.name).map(|secret| (secret.namespace, secret)).collect();
        let served = copies.served(selected, others, &own, wanted);
        for namespace in &served {
            let settled = own.get(namespace).is_some_and(|secret| secret.is(wanted));
            copies.settled += usize::from(settled);
            copies.managed.extend(own.contains_key(namespace).then(|| (*namespace).to_owned()));
            copies.children.push(wanted.child(namespace));
        }
        copies.wanted = served.len();
        let stays = |secret: &There<'_>| secret.name == wanted.name && served.contains(secret.namespace);
        let leftover = there.iter().filter(|secret| !stays(secret));
        copies.leftover = leftover.map(|secret| format!("{}/{}", secret.namespace, secret.name)).collect();
        copies
    }

    /// The namespaces that get the Secret. Those that have it come first where there is no room for all: nothing that works is
    /// taken away because of a namespace that is new.
    fn served<'a>(
        &mut self,
        selected: &'a Selected,
        others: &Others,
        own: &BTreeMap<&str, &There<'_>>,
        wanted: &Wanted<'_>,
    ) -> BTreeSet<&'a str> {
        let mut fitting = Vec::new();
        for namespace in &selected.namespaces {
            match others.get(namespace).filter(|_| !own.contains_key(namespace.as_str())) {
                None => fitting.push(namespace.as_str()),
                Some(whose) => self.foreign.push((namespace.clone(), whose.clone())),
            }
        }
        fitting.sort_by_key(|namespace| !own.contains_key(namespace));
        self.beyond = fitting.len().saturating_sub(wanted.most());
        fitting.into_iter().take(wanted.most()).collect()
    }

    /// Names a Secret as it is. It is not written as long as it is there.
    fn keep(&mut self, secret: &There<'_>) {
        let metadata = ObjectMeta {
            name: Some(secret.name.to_owned()),
            namespace: Some(secret.namespace.to_owned()),
            labels: Some(secret.document.metadata.labels.clone()),
            ..ObjectMeta::default()
        };
        let metadata = ObjectMeta { labels: metadata.labels.map(without_set), ..metadata };
        let config = secret.document.data.as_ref().map(|data| &*data.config).unwrap_or_default();
        let copy = Copied::new(metadata, config);
        self.children.push(Child::of(&copy).strategy(Strategy::CreateOnce).readiness(Readiness::Exists));
        if !secret.is_leaving() {
            self.managed.push(secret.namespace.to_owned());
        }
    }
}

/// The label of the set is the host's to write.
fn without_set(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.remove(PART_OF);
    labels
}

/// Drops namespaces where a source itself has the wanted name: there it needs no copy, and must not become one.
pub(crate) fn without_sources(parent: &ImagePullSecret, selected: &mut Selected) {
    for source in &parent.spec.registry.credentials {
        if source.name == name(parent) {
            selected.holding.extend(selected.namespaces.take(source::namespace(source)));
        }
    }
}
