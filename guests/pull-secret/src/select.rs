//! Which namespaces get the Secret.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use operator_guest::{ObjectQuery, Query, Snapshot};
use scone_api::{
    imagepullsecret::{AnnotationSelector, ImagePullSecret, ObjectSelectors, TargetConfig},
    observe::or_default,
};
use serde::Deserialize;

/// Query ids. Those of pods are followed by the place of the selector.
const NAMESPACES: &str = "namespaces";
const BY_LABEL: &str = "pods-by-label-";
const BY_ANNOTATION: &str = "pods-by-annotation-";

/// The fields that the manifest asks to be granted. Queries ask for less: only the keys that selectors name.
pub(crate) const NAMESPACE_FIELDS: [&str; 3] =
    ["metadata.annotations", "metadata.deletionTimestamp", "metadata.labels"];
pub(crate) const POD_FIELDS: [&str; 3] = ["metadata.annotations", "metadata.labels", "metadata.namespace"];

/// The namespaces that get the Secret.
#[derive(Default)]
pub(crate) struct Selected {
    /// Those that fit and stay.
    pub(crate) namespaces: BTreeSet<String>,
    /// Those that fit, and hold a source under the wanted name: they need no copy.
    pub(crate) holding: BTreeSet<String>,
    /// Names in the spec of which there is no namespace.
    pub(crate) absent: Vec<String>,
}

/// Why it is not known which namespaces fit: nothing when it is not known yet.
#[derive(Debug, Default)]
pub(crate) struct Blind(pub(crate) Vec<String>);

/// A namespace or a pod.
#[derive(Deserialize)]
struct Seen {
    metadata: SeenMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenMeta {
    name: String,
    namespace: Option<String>,
    deletion_timestamp: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

/// One selector, of labels or of annotations.
#[derive(Clone, Copy)]
pub(crate) struct Selector<'a> {
    exact: Option<&'a BTreeMap<String, String>>,
    expressions: Option<&'a Vec<LabelSelectorRequirement>>,
}

impl<'a> From<&'a LabelSelector> for Selector<'a> {
    fn from(selector: &'a LabelSelector) -> Self {
        Self { exact: selector.match_labels.as_ref(), expressions: selector.match_expressions.as_ref() }
    }
}

impl<'a> From<&'a AnnotationSelector> for Selector<'a> {
    fn from(selector: &'a AnnotationSelector) -> Self {
        Self { exact: selector.match_annotations.as_ref(), expressions: selector.match_expressions.as_ref() }
    }
}

impl<'a> Selector<'a> {
    /// What must be there as it is written.
    pub(crate) fn exact(self) -> impl Iterator<Item = (&'a String, &'a String)> {
        self.exact.into_iter().flatten()
    }

    /// What else must hold.
    pub(crate) fn expressions(self) -> impl Iterator<Item = &'a LabelSelectorRequirement> {
        self.expressions.into_iter().flatten()
    }

    /// Whether it asks for nothing, and so fits everything.
    pub(crate) fn is_empty(self) -> bool {
        self.exact().next().is_none() && self.expressions().next().is_none()
    }

    fn keys(self) -> impl Iterator<Item = &'a str> {
        self.exact().map(|(key, _)| key.as_str()).chain(self.expressions().map(|expression| expression.key.as_str()))
    }

    fn fits(self, there: &BTreeMap<String, String>) -> bool {
        self.exact().all(|(key, value)| there.get(key) == Some(value))
            && self.expressions().all(|expression| holds(expression, there.get(&expression.key)))
    }
}

/// The rules of Kubernetes. An operator that it does not have fits nothing; validation refuses it.
fn holds(expression: &LabelSelectorRequirement, there: Option<&String>) -> bool {
    let listed = there.is_some_and(|value| expression.values.iter().flatten().any(|listed| listed == value));
    match expression.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => there.is_some(),
        "DoesNotExist" => there.is_none(),
        _ => false,
    }
}

/// The selectors of labels and of annotations.
pub(crate) fn selectors<'a>(
    labels: Option<&'a Vec<LabelSelector>>,
    annotations: Option<&'a Vec<AnnotationSelector>>,
) -> (Vec<Selector<'a>>, Vec<Selector<'a>>) {
    let labels = labels.into_iter().flatten().map(Selector::from);
    (labels.collect(), annotations.into_iter().flatten().map(Selector::from).collect())
}

fn of_namespaces(target: &TargetConfig) -> (Vec<Selector<'_>>, Vec<Selector<'_>>) {
    let found = target.namespaces.as_ref();
    selectors(found.and_then(|found| found.labels.as_ref()), found.and_then(|found| found.annotations.as_ref()))
}

fn of_pods(target: &TargetConfig) -> (Vec<Selector<'_>>, Vec<Selector<'_>>) {
    let found: Option<&ObjectSelectors> = target.namespaces_with_pods.as_ref();
    selectors(found.and_then(|found| found.labels.as_ref()), found.and_then(|found| found.annotations.as_ref()))
}

/// The paths of these labels or annotations. A key with a dot has none of its own, since dots part paths.
fn fields<'a>(list: &str, selectors: impl IntoIterator<Item = Selector<'a>>) -> BTreeSet<String> {
    let keys: BTreeSet<_> = selectors.into_iter().flat_map(Selector::keys).collect();
    if keys.iter().any(|key| key.contains('.')) {
        return [format!("metadata.{list}")].into();
    }
    keys.into_iter().map(|key| format!("metadata.{list}.{key}")).collect()
}

/// What must be known: the namespaces, and pods only where the spec has selectors of pods.
pub(crate) fn queries(target: &TargetConfig) -> Vec<Query> {
    let (labels, annotations) = of_namespaces(target);
    let mut wanted = fields("labels", labels);
    wanted.extend(fields("annotations", annotations));
    wanted.insert("metadata.deletionTimestamp".to_owned());
    let mut queries = vec![ObjectQuery::of::<Namespace>().fields(wanted).ask(NAMESPACES)];
    let (labels, annotations) = of_pods(target);
    queries.extend(labels.into_iter().enumerate().map(|(at, selector)| {
        // The host looks for exact labels itself, so that other pods do not even come along.
        let query = selector.exact().fold(ObjectQuery::of::<Pod>(), |query, (key, value)| query.label(key, value));
        query.fields(of_pod("labels", selector)).ask(&format!("{BY_LABEL}{at}"))
    }));
    queries.extend(annotations.into_iter().enumerate().map(|(at, selector)| {
        let query = ObjectQuery::of::<Pod>().fields(of_pod("annotations", selector));
        query.ask(&format!("{BY_ANNOTATION}{at}"))
    }));
    queries
}

/// Never nothing, which would mean whole pods.
fn of_pod(list: &str, selector: Selector<'_>) -> BTreeSet<String> {
    let mut wanted = fields(list, [selector]);
    wanted.insert("metadata.namespace".to_owned());
    wanted
}

/// Which namespaces fit. A namespace on its way out takes nothing any more.
pub(crate) fn read(snapshot: &Snapshot<ImagePullSecret>, target: &TargetConfig) -> Result<Selected, Blind> {
    let mut blind = Blind::default();
    let namespaces = known(snapshot, NAMESPACES, "namespaces", &mut blind);
    let with_pods = with_pods(snapshot, target, &mut blind);
    let (Some(namespaces), Some(with_pods)) = (namespaces, with_pods) else { return Err(blind) };
    let names = target.namespaces.as_ref().and_then(|found| found.names.as_deref()).unwrap_or_default();
    let (labels, annotations) = of_namespaces(target);
    let fits = |seen: &SeenMeta| {
        names.contains(&seen.name)
            || with_pods.contains(&seen.name)
            || labels.iter().any(|selector| selector.fits(&seen.labels))
            || annotations.iter().any(|selector| selector.fits(&seen.annotations))
    };
    let there: BTreeSet<&str> = namespaces.iter().map(|seen| seen.metadata.name.as_str()).collect();
    let absent = names.iter().filter(|name| !there.contains(name.as_str())).cloned().collect();
    let stays = namespaces.iter().map(|seen| &seen.metadata).filter(|seen| seen.deletion_timestamp.is_none());
    Ok(Selected {
        namespaces: stays.filter(|seen| fits(seen)).map(|seen| seen.name.clone()).collect(),
        holding: BTreeSet::new(),
        absent,
    })
}

/// The namespaces of pods that fit.
fn with_pods(
    snapshot: &Snapshot<ImagePullSecret>,
    target: &TargetConfig,
    blind: &mut Blind,
) -> Option<BTreeSet<String>> {
    let (labels, annotations) = of_pods(target);
    let mut found = Some(BTreeSet::new());
    let mut add = |id: String, fits: &dyn Fn(&SeenMeta) -> bool| match known(snapshot, &id, "pods", blind) {
        None => found = None,
        Some(pods) => {
            let fitting = pods.into_iter().map(|pod| pod.metadata).filter(|pod| fits(pod));
            let namespaces = fitting.filter_map(|pod| pod.namespace);
            found = found.take().map(|mut found| {
                found.extend(namespaces);
                found
            });
        }
    };
    for (at, selector) in labels.into_iter().enumerate() {
        // The exact labels were looked for by the host.
        let rest = Selector { exact: None, ..selector };
        add(format!("{BY_LABEL}{at}"), &|pod| rest.fits(&pod.labels));
    }
    for (at, selector) in annotations.into_iter().enumerate() {
        add(format!("{BY_ANNOTATION}{at}"), &|pod| selector.fits(&pod.annotations));
    }
    found
}

fn known(snapshot: &Snapshot<ImagePullSecret>, id: &str, what: &str, blind: &mut Blind) -> Option<Vec<Seen>> {
    let answer = snapshot.objects(id)?;
    answer.map_err(|failure| blind.0.push(format!("{what} cannot be listed: {failure}"))).ok()
}
