//! The volumes: where their claims stand, and whether they are as large as the spec wants.

use operator_guest::Condition;
use scone_api::cas::{CASSpec, PvcStatus};

use crate::{
    observe::{ClaimTemplate, Observation, ObservedClaim},
    workload::{self, Site},
};

/// Where the claim of a volume stands; none without one.
pub(crate) fn status(observation: &Observation, volume: &str, wanted: bool) -> Option<PvcStatus> {
    if !wanted || !observation.is_claim_known(volume) {
        return None;
    }
    let Some(claim) = observation.claim(volume) else { return Some(PvcStatus::NotBound) };
    let holds = |type_: &str| {
        claim.status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    Some(if holds("FileSystemResizePending") {
        PvcStatus::FileSystemResizePending
    } else if holds("Resizing") {
        PvcStatus::Resizing
    } else if claim.status.phase == "Bound" {
        PvcStatus::Bound
    } else {
        PvcStatus::NotBound
    })
}

/// Whether every volume is as large as the spec wants. No module may change a claim that it does not own, and one that it owned
/// would go with it: so whoever wants the volume to grow is told how.
pub(crate) fn condition(site: &Site<'_>, spec: &CASSpec, observation: &Observation) -> Condition {
    const TYPE: &str = "VolumesAsWanted";
    let wanted =
        [(workload::DATABASE, workload::database_claim(spec)), (workload::SNAPSHOTS, workload::snapshots_claim(spec))];
    let wanted: Vec<_> = wanted.into_iter().filter_map(|(volume, wanted)| Some((volume, wanted?))).collect();
    let growing: Vec<String> = wanted
        .iter()
        .filter_map(|(volume, wanted)| {
            let claim = observation.claim(volume)?;
            claim.is_smaller(&wanted.size).then(|| grow(site, volume, claim, wanted))
        })
        .collect();
    if !growing.is_empty() {
        return Condition::false_(TYPE, "VolumeTooSmall", growing.join("; "));
    }
    match wanted.iter().find(|(volume, _)| observation.claim(volume).is_none()) {
        Some((volume, _)) => {
            Condition::unknown(TYPE, "Observing", format!("the claim {} is not there yet", site.claim(volume)))
        }
        None => Condition::true_(TYPE, "AsWanted", "every volume is as large as the spec wants"),
    }
}

fn grow(site: &Site<'_>, volume: &str, claim: &ObservedClaim, wanted: &ClaimTemplate) -> String {
    let patch = format!(r#"{{"spec":{{"resources":{{"requests":{{"storage":"{}"}}}}}}}}"#, wanted.size);
    format!(
        "the claim {name} asks for {}, and the spec wants {}; let it grow: kubectl patch pvc {name} -n {} -p '{patch}' (its storage \
         class must allow expansion)",
        claim.size(),
        wanted.size,
        site.namespace,
        name = site.claim(volume),
    )
}
