//! What the server itself shows of a parent's set. A watch may lag, and what it does not show yet must be neither forgotten by the
//! inventory nor orphaned by a finalizer that goes: these are the two decisions that rest on a list of their own.

use operator_core::{ObjectRef, Plan, contract::Grants, grants, inventory, plan};
use serde_json::Value;

use crate::{
    Error,
    api::{Api, Served},
};

/// Members that the plan does not want, and objects on which fields are held, one line each: nothing may be forgotten before they are
/// gone.
pub(crate) async fn left(api: &Api<'_>, grants: &Grants, manager: &str, plan: &Plan) -> Result<Vec<String>, Error> {
    let mut left = members(api, grants, plan).await?;
    if plan.release.is_some() {
        left.extend(held(api, grants, manager, &plan.parent).await?);
    }
    Ok(left)
}

async fn members(api: &Api<'_>, grants: &Grants, plan: &Plan) -> Result<Vec<String>, Error> {
    let set = inventory::id(&plan.parent);
    let mut left = Vec::new();
    for group_kind in &plan.recorded.group_kinds {
        // Of a kind that is not served any more there are no objects.
        let Some(served) = served(api, grants, group_kind).await? else { continue };
        let own = plan.parent.namespace.iter();
        let places: Vec<Option<&str>> = if served.namespaced {
            own.chain(&plan.recorded.namespaces).map(|namespace| Some(&**namespace)).collect()
        } else {
            vec![None]
        };
        for place in places {
            let label = format!("{}={set}", inventory::PART_OF);
            let found = api.list(&served, place, Some(&label)).await?;
            let found = found.iter().map(|object| served.identity(object));
            left.extend(found.filter(|member| !is_wanted(plan, member)).map(|member| line(grants, &member)));
        }
    }
    Ok(left)
}

/// How a kind of the inventory is reached: in the version that the module is granted, or else in the one that the server prefers.
async fn served(api: &Api<'_>, grants: &Grants, group_kind: &str) -> Result<Option<Served>, Error> {
    let (kind, group) = group_kind.split_once('.').unwrap_or((group_kind, ""));
    let of_group = |api_version: &&String| api_version.split_once('/').map_or("", |(group, _)| group) == group;
    let granted = grants.children.iter().filter(|rule| rule.kind == kind).map(|rule| &rule.api_version).find(of_group);
    match granted.and_then(|api_version| api.served(api_version, kind)) {
        Some(served) => Ok(Some(served)),
        None => api.discover(group, kind).await,
    }
}

/// Versions differ where the module has moved on to another one since.
fn is_wanted(plan: &Plan, member: &ObjectRef) -> bool {
    let same = |wanted: &ObjectRef| {
        (wanted.group(), &wanted.kind, &wanted.namespace, &wanted.name)
            == (member.group(), &member.kind, &member.namespace, &member.name)
    };
    plan.steps.iter().any(|step| same(&step.identity))
}

fn line(grants: &Grants, member: &ObjectRef) -> String {
    if grants::child_kind(grants, member) {
        return format!("{member}: is still there");
    }
    format!(
        "{member}: is still there, and the module may not touch its kind any more; grant it again, or delete the object"
    )
}

/// Objects of others that carry labels or annotations of this parent.
async fn held(api: &Api<'_>, grants: &Grants, manager: &str, parent: &ObjectRef) -> Result<Vec<String>, Error> {
    let manager = plan::partial_manager(manager, parent);
    let mut kinds: Vec<(&str, &str)> = grants.partials.iter().map(|rule| (&*rule.api_version, &*rule.kind)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut left = Vec::new();
    for (api_version, kind) in kinds {
        let Some(served) = api.served(api_version, kind) else { continue };
        let carries = |object: &&Value| plan::holds_labels(object, &manager);
        let found = api.list(&served, None, None).await?;
        left.extend(
            found.iter().filter(carries).map(|object| format!("{}: still carries labels", served.identity(object))),
        );
    }
    Ok(left)
}
