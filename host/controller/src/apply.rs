//! Carries out a plan. With `report`, the only place that writes to the API server (invariant I3).

use futures::{StreamExt, stream};
use operator_core::{
    Identity, ObjectRef, Plan, adoption,
    diff::Change,
    plan::{self, PartialStep, PartialVerb, Step, Verb},
};
use serde_json::Value;
use tracing::{info, warn};

use crate::{
    Cache, Context, Error,
    api::Api,
    contention::{Deed, Held},
    live,
};

/// So many objects of one kind are written at a time. Enough to keep an API server busy beside those of other parents; no storm.
const AT_ONCE: usize = 16;

/// What was written, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which object.
    pub identity: ObjectRef,
    /// What was done: `claim`, `create`, `update`, `adopt`, `recreate`, `prune`, `set`, `withdraw`, `record`, `release`.
    pub verb: &'static str,
}

/// What carrying out a plan came to.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) written: Vec<Written>,
    /// Objects that were not written, since others keep undoing it: what to tell, and the seconds to wait.
    pub(crate) contended: Vec<(String, u32)>,
    /// The version that each object got.
    pub(crate) versions: Vec<(ObjectRef, u64)>,
    /// What has to be gone first and is not, as the server says, one line each.
    pub(crate) left: Vec<String>,
}

impl Applied {
    fn wrote(&mut self, module: &str, identity: &ObjectRef, verb: &'static str) {
        info!(module, verb, object = %identity, "wrote");
        self.written.push(Written { identity: identity.clone(), verb });
    }
}

/// Carries out a plan: the inventory is on record before the first object is made, stages and kinds come in order, pruning is last, and
/// the finalizer goes only when everything to prune is gone. `applied` tells what was written, also when an error ends it early.
pub(crate) async fn apply(ctx: &Context, module: &str, plan: &Plan, applied: &mut Applied) -> Result<(), Error> {
    let api = Api::new(&ctx.client, &*ctx.cache);
    let manager = plan::manager(module);
    if let Some(record) = &plan.record {
        applied.versions.push((plan.parent.clone(), api.apply(&plan.parent, None, &manager, record).await?));
        applied.wrote(module, &plan.parent, "record");
    }
    children(ctx, &api, module, plan, applied).await?;
    partials(ctx, &api, module, plan, applied).await?;
    prune(ctx, &api, module, plan, applied).await?;
    let releases = plan.release.is_some() && gone(ctx, plan);
    if releases || plan.shrink.is_some() {
        applied.left = live::left(&api, &ctx.grants, module, plan).await?;
    }
    if !applied.left.is_empty() {
        return Ok(());
    }
    if let Some(shrink) = &plan.shrink {
        applied.versions.push((plan.parent.clone(), api.apply(&plan.parent, None, &manager, shrink).await?));
        applied.wrote(module, &plan.parent, "record");
    }
    if let (Some(release), true) = (&plan.release, releases) {
        match api.apply(&plan.parent, None, &manager, release).await {
            // It was released before, and is gone.
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
            Ok(_) => applied.wrote(module, &plan.parent, "release"),
        }
    }
    Ok(())
}

/// Takes the finalizer off a parent that nobody has cleaned up after.
pub(crate) async fn abandon(ctx: &Context, module: &str, parent: &Identity) -> Result<(), Error> {
    let identity = parent.object_ref();
    let document = plan::abandoned(module, parent);
    let api = Api::new(&ctx.client, &*ctx.cache);
    match api.apply(&identity, None, &plan::manager(module), &document).await {
        Err(error) if !error.is_gone() => return Err(error),
        _ => {}
    }
    info!(module, verb = "release", object = %identity, "wrote");
    Ok(())
}

/// One that is refused holds up what comes after it, and none of its kind.
async fn children(ctx: &Context, api: &Api<'_>, module: &str, plan: &Plan, applied: &mut Applied) -> Result<(), Error> {
    let manager = plan::manager(module);
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.verb.writes()).collect();
    for alike in steps.chunk_by(|a, b| is_alike(&a.identity, &b.identity)) {
        let mut refused = None;
        let doing = alike.iter().map(|step| one(ctx, api, &manager, step));
        for (step, done) in alike.iter().zip(together(doing).await) {
            match done {
                Ok(Done::Held(trouble)) => applied.contended.push(trouble),
                Ok(Done::Kept) => {}
                Ok(Done::Written { claimed, verb, version }) => {
                    if claimed {
                        applied.wrote(module, &step.identity, "claim");
                    }
                    applied.versions.push((step.identity.clone(), version));
                    applied.wrote(module, &step.identity, verb);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
    }
    Ok(())
}

/// One that is refused holds up no other.
async fn partials(ctx: &Context, api: &Api<'_>, module: &str, plan: &Plan, applied: &mut Applied) -> Result<(), Error> {
    let manager = plan::partial_manager(module, &plan.parent);
    let steps: Vec<_> = plan.partials.iter().filter(|step| step.verb != PartialVerb::Unchanged).collect();
    let doing = steps.iter().map(|step| fields(ctx, api, &manager, step));
    let mut refused = None;
    for (step, done) in steps.iter().zip(together(doing).await) {
        match done {
            Ok(Done::Held(trouble)) => applied.contended.push(trouble),
            // The object went meanwhile, and its labels with it.
            Ok(Done::Kept) => {}
            Ok(Done::Written { verb, version, .. }) => {
                applied.versions.push((step.identity.clone(), version));
                applied.wrote(module, &step.identity, verb);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

async fn fields(ctx: &Context, api: &Api<'_>, manager: &str, step: &PartialStep) -> Result<Done, Error> {
    let PartialStep { identity, verb, document, changes } = step;
    let verb = if *verb == PartialVerb::Set { "set" } else { "withdraw" };
    if let Some(Held { wait, alternates }) =
        ctx.contention.hold(identity, Deed::Set(manager, document), ctx.clock.now())
    {
        let what = format!("{} of {identity}", paths(changes));
        let text = if alternates {
            format!("{what} is set again and again because the module's answers alternate")
        } else {
            format!("{what} is set again and again because somebody takes it back; stop one of them")
        };
        return Ok(Done::Held((format!("{text}; it is written at most once a minute"), wait)));
    }
    match api.apply(identity, None, manager, document).await {
        Err(error) if error.is_gone() => Ok(Done::Kept),
        Err(error) => Err(error),
        Ok(version) => Ok(Done::Written { claimed: false, verb, version }),
    }
}

async fn prune(ctx: &Context, api: &Api<'_>, module: &str, plan: &Plan, applied: &mut Applied) -> Result<(), Error> {
    let steps: Vec<_> = plan.prune.iter().filter(|step| step.verb.writes()).collect();
    let doing = steps.iter().map(|step| delete(ctx, api, step));
    let mut refused = None;
    for (step, done) in steps.iter().zip(together(doing).await) {
        match done {
            Ok(None) => applied.wrote(module, &step.identity, "prune"),
            Ok(Some(trouble)) => applied.contended.push(trouble),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Deletes one object, unless somebody keeps making it.
async fn delete(ctx: &Context, api: &Api<'_>, step: &Step) -> Result<Option<(String, u32)>, Error> {
    let identity = &step.identity;
    if let Some(Held { wait, alternates }) = ctx.contention.hold(identity, Deed::Delete, ctx.clock.now()) {
        let text = if alternates {
            format!("{identity} is made and deleted by turns because the module's answers alternate")
        } else {
            format!(
                "{identity} is deleted again and again because somebody makes it with the labels of this set; stop whoever does"
            )
        };
        return Ok(Some((format!("{text}; it is deleted at most once a minute"), wait)));
    }
    api.delete(identity, step.uid.as_deref()).await.map(|()| None)
}

/// Does all of it, some at a time; the outcomes are in the order of what was to be done.
async fn together<F: Future>(doing: impl Iterator<Item = F>) -> Vec<F::Output> {
    // Made before the stream, which cannot hold a closure over borrowed steps and be sent to another thread.
    let doing: Vec<F> = doing.collect();
    stream::iter(doing).buffered(AT_ONCE).collect().await
}

/// Objects of one kind do not wait for each other: a parent may have thousands of them.
fn is_alike(one: &ObjectRef, other: &ObjectRef) -> bool {
    (&one.api_version, &one.kind) == (&other.api_version, &other.kind)
}

/// What became of one step.
enum Done {
    Held((String, u32)),
    /// It exists after all, and is only ever made.
    Kept,
    Written {
        claimed: bool,
        verb: &'static str,
        version: u64,
    },
}

async fn one(ctx: &Context, api: &Api<'_>, manager: &str, step: &Step) -> Result<Done, Error> {
    if let Some(trouble) = held(ctx, api, manager, step).await? {
        return Ok(Done::Held(trouble));
    }
    let claimed = step.verb == Verb::Adopt && claim(api, manager, &step.identity).await?;
    let written = write(api, manager, step).await?;
    Ok(written.map_or(Done::Kept, |(verb, version)| Done::Written { claimed, verb, version }))
}

/// Whether an object has to wait because somebody keeps undoing what is written to it, and who.
async fn held(ctx: &Context, api: &Api<'_>, manager: &str, step: &Step) -> Result<Option<(String, u32)>, Error> {
    let deed = match (step.verb, &step.document) {
        (Verb::Create, Some(document)) => Deed::Create(document),
        (Verb::Update, Some(document)) => Deed::Write(document),
        _ => return Ok(None),
    };
    let Some(held) = ctx.contention.hold(&step.identity, deed, ctx.clock.now()) else { return Ok(None) };
    let identity = &step.identity;
    let text = match (step.verb, held.alternates) {
        (Verb::Create, true) => {
            format!("{identity} is made and deleted by turns because the module's answers alternate")
        }
        (Verb::Create, false) => {
            format!("{identity} is made again and again because somebody deletes it; stop whoever does")
        }
        (_, true) => {
            let fields = paths(&step.changes);
            format!("{identity} is written again and again because the module's answers alternate in {fields}")
        }
        (_, false) => {
            let rival = match api.get(identity).await {
                Ok(object) => adoption::other_managers(&object, manager).into_iter().next(),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            let rival = rival.unwrap_or_else(|| "somebody without a field manager".to_owned());
            format!("{manager} and {rival} both write {} of {identity}; stop one of them", paths(&step.changes))
        }
    };
    Ok(Some((format!("{text}; it is written at most once a minute"), held.wait)))
}

/// The first fields that differ, for a message.
fn paths(changes: &[Change]) -> String {
    changes.iter().take(3).map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
}

/// Makes the claims of an adopted object's makers ours, so that what is not wanted goes.
async fn claim(api: &Api<'_>, manager: &str, identity: &ObjectRef) -> Result<bool, Error> {
    let object = match api.get(identity).await {
        Err(error) if error.is_not_found() => return Ok(false),
        other => other?,
    };
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let Some(claims) = adoption::united_claims(&object, manager) else { return Ok(false) };
    api.claim(identity, version, &claims).await.map(|()| true)
}

/// Deletes exactly this object, as an action of a module wants it; gone already is fine.
pub(crate) async fn remove(
    client: &kube::Client,
    cache: &dyn Cache,
    identity: &ObjectRef,
    uid: &str,
) -> Result<(), Error> {
    Api::new(client, cache).delete(identity, Some(uid)).await?;
    info!(verb = "delete", object = %identity, "acted");
    Ok(())
}

/// Whether the cache confirms that all members are gone: a finalizer that goes too early leaves orphans.
fn gone(ctx: &Context, plan: &Plan) -> bool {
    plan.prune.iter().all(|step| ctx.cache.get(&step.identity).is_none())
}

/// What was done, and the version that the object has now; none when nothing had to be done.
async fn write(api: &Api<'_>, manager: &str, step: &Step) -> Result<Option<(&'static str, u64)>, Error> {
    let Some(document) = &step.document else { return Ok(None) };
    let written = match step.verb {
        Verb::Create if step.once => {
            // One that the cache did not show stays as it is.
            let version = api.create(&step.identity, manager, document).await?;
            return Ok(version.map(|version| ("create", version)));
        }
        Verb::Create => api.introduce(&step.identity, manager, document).await,
        _ => api.apply(&step.identity, None, manager, document).await,
    };
    match written {
        Ok(version) => Ok(Some(match step.verb {
            Verb::Create => ("create", version),
            Verb::Adopt => ("adopt", version),
            _ => ("update", version),
        })),
        Err(error) if step.recreate && step.uid.is_some() && error.is_invalid() => {
            warn!(object = %step.identity, %error, "a field is immutable: the object is deleted and made again");
            api.delete(&step.identity, step.uid.as_deref()).await?;
            Ok(Some(("recreate", 0)))
        }
        Err(error) => Err(error),
    }
}
