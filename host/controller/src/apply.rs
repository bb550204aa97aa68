//! Carries out a plan. With `report`, the only place that writes to the API server (invariant I3).

use futures::{StreamExt, stream};
use operator_core::{
    ObjectRef, Plan, adoption,
    plan::{self, PartialVerb, Step, Verb},
};
use serde_json::Value;
use tracing::{info, warn};

use crate::{Cache, Context, Error, api::Api};

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
    /// The version that each object of the parent's set got.
    pub(crate) versions: Vec<(ObjectRef, u64)>,
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
    partials(&api, module, plan, applied).await?;
    let pruned: Vec<_> = plan.prune.iter().filter(|step| step.verb.writes()).collect();
    let doing = pruned.iter().map(|step| api.delete(&step.identity, step.uid.as_deref()));
    let mut refused = None;
    for (step, done) in pruned.iter().zip(together(doing).await) {
        match done {
            Ok(()) => applied.wrote(module, &step.identity, "prune"),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if let Some(error) = refused {
        return Err(error);
    }
    if let Some(shrink) = &plan.shrink {
        applied.versions.push((plan.parent.clone(), api.apply(&plan.parent, None, &manager, shrink).await?));
        applied.wrote(module, &plan.parent, "record");
    }
    if let (Some(release), true) = (&plan.release, gone(ctx, plan)) {
        match api.apply(&plan.parent, None, &manager, release).await {
            // It was released before, and is gone.
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
            Ok(_) => applied.wrote(module, &plan.parent, "release"),
        }
    }
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

async fn partials(api: &Api<'_>, module: &str, plan: &Plan, applied: &mut Applied) -> Result<(), Error> {
    let manager = plan::partial_manager(module, &plan.parent);
    for step in plan.partials.iter().filter(|step| step.verb != PartialVerb::Unchanged) {
        match api.apply(&step.identity, None, &manager, &step.document).await {
            // The object went meanwhile, and its labels with it.
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let verb = if step.verb == PartialVerb::Set { "set" } else { "withdraw" };
                applied.wrote(module, &step.identity, verb);
            }
        }
    }
    Ok(())
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
    let Some(document) = step.document.as_ref().filter(|_| step.verb == Verb::Update) else { return Ok(None) };
    let Some(held) = ctx.contention.hold(&step.identity, document, ctx.clock.now()) else { return Ok(None) };
    let identity = &step.identity;
    let fields: Vec<&str> = step.changes.iter().take(3).map(|change| change.path.as_str()).collect();
    let text = if held.alternates {
        format!("{identity} is written again and again because the module's answers alternate in {}", fields.join(", "))
    } else {
        let rival = match api.get(identity).await {
            Ok(object) => adoption::other_managers(&object, manager).into_iter().next(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let rival = rival.unwrap_or_else(|| "somebody without a field manager".to_owned());
        format!("{manager} and {rival} both write {} of {identity}; stop one of them", fields.join(", "))
    };
    Ok(Some((format!("{text}; it is written at most once a minute"), held.wait)))
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
