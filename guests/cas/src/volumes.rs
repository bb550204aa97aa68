//! The volumes: where their claims stand, whether they are as large as they should be, and how they get larger.
//!
//! Claims are no children: a child goes with its owner. Only the size that they ask for is set, which takes nothing away, and which the
//! host never takes back.

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use operator_guest::{CommandQuery, Condition, ObjectQuery, ObjectRef, Partial, Query, Snapshot};
use scone_api::{
    cas::{CAS, CASSpec, DynamicResize, PvcStatus},
    quantity,
};
use serde_json::json;

use crate::{
    cli,
    observe::{Observation, ObservedClaim, ObservedClass},
    spec,
    workload::{self, Site},
};

/// The fields of a storage class that are read.
pub(crate) const CLASS_FIELDS: [&str; 1] = ["allowVolumeExpansion"];
/// The one field of a claim that is set.
pub(crate) const SIZE_FIELD: &str = "spec.resources.requests.storage";
const CLASSES: &str = "storage-classes";

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

/// What is known of the volumes, and what is done about them.
pub(crate) struct Volumes<'a> {
    site: &'a Site<'a>,
    observation: &'a Observation,
    /// Those that the spec wants.
    all: Vec<Volume<'a>>,
    /// None while they are not asked for, or not known yet.
    classes: Option<Vec<ObservedClass>>,
    /// Whether somebody wants a volume to grow, so that the rest has to be known.
    ready: bool,
}

struct Volume<'a> {
    name: &'static str,
    path: String,
    /// The size that the spec names.
    size: String,
    resize: Option<&'a DynamicResize>,
    claim: Option<&'a ObservedClaim>,
    /// How full it is, in percent.
    used: Option<i32>,
}

/// Reads the snapshot. `is_ready` is whether commands can be run in CAS.
pub(crate) fn read<'a>(
    snapshot: &Snapshot<CAS>,
    site: &'a Site<'a>,
    spec: &'a CASSpec,
    observation: &'a Observation,
    is_ready: bool,
) -> Volumes<'a> {
    let database = workload::database_claim(spec).zip(spec::database(spec)).map(|(claim, part)| {
        (workload::DATABASE, spec::database_path(spec).to_owned(), claim.size, part.dynamic_resize.as_ref())
    });
    let part = spec::snapshots(spec);
    let snapshots = workload::snapshots_claim(spec).zip(part).map(|(claim, part)| {
        let resize = part.persistence.as_ref().and_then(|persistence| persistence.dynamic_resize.as_ref());
        (workload::SNAPSHOTS, spec::snapshot_path(part).to_owned(), claim.size, resize)
    });
    let all = database.into_iter().chain(snapshots).map(|(name, path, size, resize)| {
        let claim = observation.claim(name);
        let used = claim.and_then(|claim| used(snapshot, name, claim));
        Volume { name, path, size, resize: resize.filter(|resize| resize.enabled), claim, used }
    });
    let classes = snapshot.objects(CLASSES).and_then(Result::ok);
    Volumes { site, observation, all: all.collect(), classes, ready: is_ready }
}

fn used(snapshot: &Snapshot<CAS>, volume: &str, claim: &ObservedClaim) -> Option<i32> {
    let result = snapshot.command(&usage_id(volume, claim))?.ok().filter(|result| result.code == 0)?;
    let text = String::from_utf8_lossy(&result.stdout);
    text.lines().last()?.split_whitespace().find_map(|word| word.strip_suffix('%')?.parse().ok())
}

/// The capacity is part of the id: what was measured before a volume grew says nothing about it now.
fn usage_id(volume: &str, claim: &ObservedClaim) -> String {
    format!("usage-{volume}-{}", claim.capacity())
}

impl Volume<'_> {
    /// The size that its claim should ask for; none when it asks for enough.
    fn target(&self) -> Option<String> {
        let claim = self.claim.filter(|claim| claim.status.phase == "Bound")?;
        if claim.is_smaller(&self.size) {
            return Some(self.size.clone());
        }
        let resize = self.resize.filter(|resize| self.used.is_some_and(|used| used >= resize.threshold_percent))?;
        // One step at a time: while the last one is on its way, nothing is known of the use.
        if !claim.has(claim.size()) {
            return None;
        }
        quantity::sum(claim.size(), &resize.increase_step.0)
    }
}

impl Volumes<'_> {
    /// Asks for what has to be known to let a volume grow; nothing while none should.
    pub(crate) fn questions(&self) -> Vec<Query> {
        let measured = self.all.iter().filter(|volume| self.ready && volume.resize.is_some());
        let usage = measured.filter_map(|volume| {
            let command = cli::usage(&volume.path);
            let query = CommandQuery::of(self.site.namespace, &self.site.pod(), workload::CAS, command);
            Some(query.ask(&usage_id(volume.name, volume.claim?)))
        });
        let grows = self.all.iter().any(|volume| volume.target().is_some() || volume.resize.is_some());
        let classes = grows.then(|| ObjectQuery::of::<StorageClass>().fields(CLASS_FIELDS).ask(CLASSES));
        usage.chain(classes).collect()
    }

    /// The sizes that claims should ask for, where their storage class lets them grow: the API server would refuse the others.
    pub(crate) fn sizes(&self) -> Vec<Partial> {
        let growing = self.all.iter().filter_map(|volume| Some((volume, volume.target()?)));
        growing
            .filter(|(volume, _)| volume.claim.is_some_and(|claim| self.may_grow(claim) == Some(true)))
            .map(|(volume, size)| {
                let name = self.site.claim(volume.name);
                let identity = ObjectRef::named::<PersistentVolumeClaim>(&name).in_namespace(self.site.namespace);
                Partial::fields(identity, &json!({"spec": {"resources": {"requests": {"storage": size}}}}))
            })
            .collect()
    }

    /// Whether the storage class of a claim lets it grow; none while that is not known.
    fn may_grow(&self, claim: &ObservedClaim) -> Option<bool> {
        let class = claim.class().unwrap_or_default();
        let found = self.classes.as_ref()?.iter().find(|found| found.metadata.name == class);
        Some(found.is_some_and(|found| found.allow_volume_expansion == Some(true)))
    }

    /// Whether every volume is as large as it should be.
    pub(crate) fn condition(&self) -> Condition {
        const TYPE: &str = "VolumesAsWanted";
        let targets: Vec<_> =
            self.all.iter().filter_map(|volume| Some((volume, volume.claim?, volume.target()?))).collect();
        let refused = targets.iter().filter(|(_, claim, _)| self.may_grow(claim) == Some(false));
        let refused: Vec<_> = refused.map(|(volume, claim, wanted)| self.refused(volume, claim, wanted)).collect();
        if !refused.is_empty() {
            return Condition::false_(TYPE, "CannotGrow", refused.join("; "));
        }
        let asked = targets.iter().map(|(volume, claim, wanted)| (volume.name, claim.capacity(), wanted.as_str()));
        let on_its_way = self.all.iter().filter_map(|volume| {
            let claim = volume.claim.filter(|claim| claim.status.phase == "Bound" && !claim.has(claim.size()))?;
            Some((volume.name, claim.capacity(), claim.size()))
        });
        let growing: Vec<_> = asked
            .chain(on_its_way.filter(|(name, ..)| !targets.iter().any(|(volume, ..)| volume.name == *name)))
            .map(|(name, has, wanted)| format!("the claim {} grows from {has} to {wanted}", self.site.claim(name)))
            .collect();
        if !growing.is_empty() {
            return Condition::false_(TYPE, "Growing", growing.join("; "));
        }
        match self.all.iter().find(|volume| self.observation.claim(volume.name).is_none()) {
            Some(volume) => Condition::unknown(
                TYPE,
                "Observing",
                format!("the claim {} is not there yet", self.site.claim(volume.name)),
            ),
            None => Condition::true_(TYPE, "AsWanted", "every volume is as large as it should be"),
        }
    }

    fn refused(&self, volume: &Volume<'_>, claim: &ObservedClaim, wanted: &str) -> String {
        let class = match claim.class().filter(|class| !class.is_empty()) {
            Some(class) => format!(
                "its storage class {class} does not let it grow; if its driver can, run: kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\":true}}'"
            ),
            None => "it has no storage class, and without one no claim grows".to_owned(),
        };
        let name = self.site.claim(volume.name);
        format!("the claim {name} asks for {}, and {wanted} is wanted, but {class}", claim.size())
    }
}
