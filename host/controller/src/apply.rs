//! Carries out a plan. With `report`, the only place that writes to the API server (invariant I3).

use operator_core::{
    ObjectRef, Plan,
    plan::{self, PartialVerb, Step, Verb},
};
use tracing::{info, warn};

use crate::{Cache, Context, Error, api::Api};

/// What was written, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which object.
    pub identity: ObjectRef,
    /// What was done: `create`, `update`, `adopt`, `recreate`, `prune`, `set`, `withdraw`, `record`, `release`.
    pub verb: &'static str,
}

/// Carries out a plan: the inventory is on record before the first object is made, stages come in order, pruning is last, and
/// the finalizer goes only when everything to prune is gone.
pub(crate) async fn apply(ctx: &Context, module: &str, plan: &Plan) -> Result<Vec<Written>, Error> {
    let api = Api::new(&ctx.client, &*ctx.cache);
    let manager = plan::manager(module);
    let mut written = Vec::new();
    let mut wrote = |identity: &ObjectRef, verb: &'static str| {
        info!(module, verb, object = %identity, "wrote");
        written.push(Written { identity: identity.clone(), verb });
    };
    if let Some(record) = &plan.record {
        api.apply(&plan.parent, None, &manager, record).await?;
        wrote(&plan.parent, "record");
    }
    for step in plan.steps.iter().filter(|step| step.verb.writes()) {
        let verb = write(&api, &manager, step).await?;
        wrote(&step.identity, verb);
    }
    let partial_manager = plan::partial_manager(module, &plan.parent);
    for step in plan.partials.iter().filter(|step| step.verb != PartialVerb::Unchanged) {
        match api.apply(&step.identity, None, &partial_manager, &step.document).await {
            // The object went meanwhile, and its labels with it.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(()) => wrote(&step.identity, if step.verb == PartialVerb::Set { "set" } else { "withdraw" }),
        }
    }
    for step in plan.prune.iter().filter(|step| step.verb.writes()) {
        api.delete(&step.identity, step.uid.as_deref()).await?;
        wrote(&step.identity, "prune");
    }
    if let Some(shrink) = &plan.shrink {
        api.apply(&plan.parent, None, &manager, shrink).await?;
        wrote(&plan.parent, "record");
    }
    if let (Some(release), true) = (&plan.release, gone(ctx, plan)) {
        api.apply(&plan.parent, None, &manager, release).await?;
        wrote(&plan.parent, "release");
    }
    Ok(written)
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

async fn write(api: &Api<'_>, manager: &str, step: &Step) -> Result<&'static str, Error> {
    let Some(document) = &step.document else { return Ok("unchanged") };
    match api.apply(&step.identity, None, manager, document).await {
        Ok(()) => Ok(match step.verb {
            Verb::Create => "create",
            Verb::Adopt => "adopt",
            _ => "update",
        }),
        Err(error) if step.recreate && step.uid.is_some() && error.is_invalid() => {
            warn!(object = %step.identity, %error, "a field is immutable: the object is deleted and made again");
            api.delete(&step.identity, step.uid.as_deref()).await?;
            Ok("recreate")
        }
        Err(error) => Err(error),
    }
}
