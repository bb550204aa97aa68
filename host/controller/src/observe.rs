//! From caches to a snapshot. Reads only.

use std::{collections::BTreeMap, sync::Arc};

use operator_core::{
    Action, Answer, Desired, Document, DocumentError, Finding, Identity, Metadata, ObjectQuery, ObjectRef, Observed,
    Query, QueryFailure, Question, Snapshot, contract::Manifest, grants, grants::Place, inventory, plan,
};
use serde::Deserialize;

use crate::{
    Cache, Context, Error,
    ports::{Asker, Found},
};

/// What is known of one parent before its module runs.
pub(crate) struct Observation {
    pub(crate) parent: Identity,
    pub(crate) document: Document,
    pub(crate) members: Arc<[Observed]>,
    pub(crate) held: Arc<[Observed]>,
    /// The parent's `spec.namespace`, or else the operator's own.
    pub(crate) target: String,
    pub(crate) finalizing: bool,
    /// Kinds that the server refuses to show, each with the reason: nothing can be decided then.
    pub(crate) blind: Vec<String>,
    /// The time that the module may know, if any: Unix seconds, cut to what its manifest asks for.
    pub(crate) now: Option<i64>,
    /// Group-versions that the server serves.
    pub(crate) api_versions: Arc<[String]>,
}

/// Reads the parent and what belongs to it; none when the parent does not exist (any more).
pub(crate) fn observe(ctx: &Context, manifest: &Manifest, parent: &ObjectRef) -> Result<Option<Observation>, Error> {
    let cache = &*ctx.cache;
    let blind = synced(cache, manifest, parent)?;
    let Some(document) = cache.get(parent) else { return Ok(None) };
    let unreadable = |source| Error::Unreadable { identity: parent.clone(), source };
    let (identity, target) = head(&document).map_err(unreadable)?;
    let target = target.unwrap_or_else(|| ctx.namespace.clone());
    let label = [(inventory::PART_OF.to_owned(), inventory::id(parent))];
    let mut members: Vec<Observed> = manifest
        .grants
        .children
        .iter()
        .flat_map(|rule| cache.list(&rule.api_version, &rule.kind, None, &label))
        .collect();
    members.sort_by(|a, b| a.identity.cmp(&b.identity));
    members.dedup_by(|a, b| a.identity == b.identity);
    let finalizing = identity.metadata.deletion_timestamp.is_some();
    let held = held(cache, manifest, parent);
    let now = manifest.now_granularity.map(|granularity| {
        let now = ctx.clock.now();
        now - now.rem_euclid(i64::from(granularity.max(1)))
    });
    let (members, held, api_versions) = (members.into(), held.into(), cache.api_versions());
    Ok(Some(Observation { parent: identity, document, members, held, target, finalizing, blind, now, api_versions }))
}

/// Nothing is decided while a cache is incomplete: what is not seen would be made twice, or pruned. Gives the kinds that stay
/// unseen until somebody acts.
fn synced(cache: &dyn Cache, manifest: &Manifest, parent: &ObjectRef) -> Result<Vec<String>, Error> {
    let grants = &manifest.grants;
    let kinds = [(&parent.api_version, &parent.kind)]
        .into_iter()
        .chain(grants.children.iter().map(|rule| (&rule.api_version, &rule.kind)))
        .chain(grants.partials.iter().map(|rule| (&rule.api_version, &rule.kind)))
        .chain(grants.objects.iter().map(|rule| (&rule.api_version, &rule.kind)));
    let mut blind = Vec::new();
    for (api_version, kind) in kinds {
        if let Some(why) = cache.refusal(api_version, kind) {
            blind.push(why);
        } else if !cache.synced(api_version, kind) {
            return Err(Error::NotSynced { api_version: api_version.clone(), kind: kind.clone() });
        }
    }
    blind.dedup();
    Ok(blind)
}

/// Who the parent is, and the namespace that its spec names, if it names one. Parents are large, and so read once.
fn head(document: &Document) -> Result<(Identity, Option<String>), DocumentError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parent {
        #[serde(default)]
        api_version: String,
        #[serde(default)]
        kind: String,
        #[serde(default)]
        metadata: Metadata,
        spec: Option<Spec>,
    }
    #[derive(Deserialize)]
    struct Spec {
        namespace: Option<String>,
    }
    // A kind may have anything for a spec.
    let Ok(Parent { api_version, kind, metadata, spec }) = serde_json::from_slice(document.bytes()) else {
        return Ok((document.identity()?, None));
    };
    let target = spec.and_then(|spec| spec.namespace).filter(|namespace| !namespace.is_empty());
    Ok((Identity { api_version, kind, metadata }, target))
}

/// The objects on which this parent holds fields, told by the field manager.
fn held(cache: &dyn Cache, manifest: &Manifest, parent: &ObjectRef) -> Vec<Observed> {
    let mut kinds: Vec<_> = manifest.grants.partials.iter().map(|rule| (&rule.api_version, &rule.kind)).collect();
    kinds.dedup();
    if kinds.is_empty() {
        return Vec::new();
    }
    let manager = plan::partial_manager(&manifest.name, parent);
    kinds.into_iter().flat_map(|(api_version, kind)| cache.held_by(api_version, kind, &manager)).collect()
}

impl Observation {
    /// What `Parent` and `Target` mean in grants.
    pub(crate) fn place(&self) -> Place<'_> {
        Place { parent: self.parent.metadata.namespace.as_deref(), target: &self.target }
    }

    /// Who asks, when this parent's module asks for something outside.
    pub(crate) fn asker<'a>(&'a self, ctx: &'a Context, module: &'a str, parent: &'a ObjectRef) -> Asker<'a> {
        let namespace = self.parent.metadata.namespace.as_deref().unwrap_or(&self.target);
        Asker { module, parent, namespace, secrets: &ctx.grants.secrets }
    }

    /// The snapshot that the module sees.
    pub(crate) fn snapshot(&self, ctx: &Context, answers: Arc<[Answer]>) -> Snapshot {
        Snapshot {
            parent: self.document.clone(),
            children: Arc::clone(&self.members),
            answers,
            settings: ctx.settings.clone(),
            finalizing: self.finalizing,
            api_versions: Arc::clone(&self.api_versions),
            now: self.now,
        }
    }
}

/// The latest outcome of each query, ordered by id. What is not granted is denied here, before it is asked.
pub(crate) fn answers(
    ctx: &Context,
    observation: &Observation,
    parent: &ObjectRef,
    queries: &[Query],
    actions: &[Action],
) -> Arc<[Answer]> {
    let name = Arc::clone(&ctx.module.current().generation().name);
    let found = |query: &Query| match grants::question(&ctx.grants, &query.question, observation.place()) {
        Err(ungranted) => Found::new(Err(QueryFailure::Denied(ungranted.to_string())), None),
        Ok(()) => match &query.question {
            Question::Objects(objects) => Found::new(find(&*ctx.cache, objects), None),
            question => match denied(ctx, question, observation.place()) {
                Some(denied) => Found::new(Err(denied), None),
                None => ctx.outside.find(observation.asker(ctx, &name, parent), query),
            },
        },
    };
    let done = |action: &Action| ctx.outside.outcome(parent, action).answer(&action.id);
    let answers = queries.iter().map(|query| found(query).answer(&query.id));
    let mut answers: Vec<Answer> = answers.chain(actions.iter().map(done)).collect();
    answers.sort_by(|a, b| a.id.cmp(&b.id));
    answers.into()
}

/// Why a question about a pod is denied whose container is granted: the pod is another one. A pod that is not known is asked about
/// by nobody, since nobody knows whose it is.
fn denied(ctx: &Context, question: &Question, place: Place<'_>) -> Option<QueryFailure> {
    let (namespace, pod) = match question {
        Question::PodLog(query) => (&query.namespace, &query.pod),
        Question::Command(query) => (&query.namespace, &query.pod),
        Question::Objects(_) | Question::Http(_) => return None,
    };
    let sets = grants::pod_labels(&ctx.grants, question, place)?;
    let identity = ObjectRef::namespaced("v1", "Pod", namespace, pod);
    if ctx.cache.resource("v1", "Pod").is_none() || !ctx.cache.synced("v1", "Pod") {
        let why =
            "its grant names labels of pods, and only a module that reads pods (grants.objects) can be told of them";
        return Some(QueryFailure::Denied(why.to_owned()));
    }
    let Some(found) = ctx.cache.get(&identity).and_then(|pod| pod.identity().ok()) else {
        return Some(QueryFailure::NotFound(identity.to_string()));
    };
    let why = grants::lacks_labels(&sets, &found.metadata.labels)?;
    Some(QueryFailure::Denied(format!("{identity} {why}; ask about pods that carry them")))
}

fn find(cache: &dyn Cache, query: &ObjectQuery) -> Result<Finding, QueryFailure> {
    let Some((_, namespaced)) = cache.resource(&query.api_version, &query.kind) else {
        return Err(QueryFailure::NotFound(format!("the kind {} {}", query.api_version, query.kind)));
    };
    let whole = query.labels.is_empty() && query.namespace.is_some() == namespaced;
    let listed = match &query.name {
        // One object needs no walk over all of them.
        Some(name) if whole => one(cache, query, name),
        _ => cache.list(&query.api_version, &query.kind, query.namespace.as_deref(), &query.labels),
    };
    let named = |object: &Observed| query.name.as_ref().is_none_or(|name| *name == object.identity.name);
    let found = listed.into_iter().filter(named).collect();
    Ok(Finding::Objects(cache.cut(found, &query.fields)))
}

fn one(cache: &dyn Cache, query: &ObjectQuery, name: &str) -> Vec<Observed> {
    let (api_version, kind) = (query.api_version.clone(), query.kind.clone());
    let identity = ObjectRef { api_version, kind, namespace: query.namespace.clone(), name: name.to_owned() };
    cache.get(&identity).map(|document| Observed { identity, document }).into_iter().collect()
}

/// The objects that an answer names.
pub(crate) fn named(desired: &Desired) -> impl Iterator<Item = &ObjectRef> {
    let children = desired.children.iter().map(|child| &child.identity);
    children.chain(desired.partials.iter().map(|partial| &partial.identity))
}

/// The objects that an answer names, as far as they exist.
pub(crate) fn existing(cache: &dyn Cache, desired: &Desired) -> BTreeMap<ObjectRef, Document> {
    named(desired).filter_map(|identity| Some((identity.clone(), cache.get(identity)?))).collect()
}
