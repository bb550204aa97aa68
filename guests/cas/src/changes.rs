//! Changes that would lose a database or cannot be made: refused, with what to do instead.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use operator_guest::Cause;
use scone_api::{
    cas::{AccessMode, CASSpec},
    quantity,
};

use crate::{spec, workload};

/// What of a volume its claim keeps.
struct Volume<'a> {
    field: &'static str,
    claim: &'static str,
    size: Option<&'a Quantity>,
    class: &'a str,
    modes: Option<&'a [AccessMode]>,
}

/// Why this change is refused.
pub(crate) fn causes(old: &CASSpec, new: &CASSpec, name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec::database(old).is_some() && spec::database(new).is_none() {
        let message = "cannot be switched off: CAS would start with an empty database, while the old one stays on its volume; for \
                       a CAS without a volume create another one";
        causes.push(Cause::forbidden("spec.persistence.enabled", message));
    }
    let pairs = [(database(old), database(new)), (snapshots(old), snapshots(new))];
    let pairs = pairs.into_iter().filter_map(|(old, new)| Some((old?, new?)));
    causes.extend(pairs.flat_map(|(old, new)| compare(&old, &new, name)));
    causes
}

fn database(spec: &CASSpec) -> Option<Volume<'_>> {
    spec::database(spec).map(|volume| Volume {
        field: "spec.persistence",
        claim: workload::DATABASE,
        size: volume.size.as_ref(),
        class: volume.storage_class.as_deref().unwrap_or_default(),
        modes: volume.access_modes.as_deref(),
    })
}

fn snapshots(spec: &CASSpec) -> Option<Volume<'_>> {
    let volume = spec.database_snapshots.as_ref()?.persistence.as_ref().filter(|volume| volume.enabled)?;
    Some(Volume {
        field: "spec.databaseSnapshots.persistence",
        claim: workload::SNAPSHOTS,
        size: volume.size.as_ref(),
        class: volume.storage_class.as_deref().unwrap_or_default(),
        modes: volume.access_modes.as_deref(),
    })
}

fn compare(old: &Volume<'_>, new: &Volume<'_>, name: &str) -> Vec<Cause> {
    let made_anew = || {
        format!(
            "cannot be changed, since the volume keeps it: to move the data, restore it into another CAS; without data to keep, \
             delete the CAS and its claim (kubectl delete pvc {}-{name}-0), and create it again",
            old.claim
        )
    };
    let mut causes = Vec::new();
    if old.class != new.class {
        causes.push(Cause::forbidden(format!("{}.storageClass", old.field), made_anew()));
    }
    let modes = |volume: &Volume<'_>| volume.modes.map_or_else(|| vec![AccessMode::ReadWriteOnce], <[_]>::to_vec);
    if modes(old) != modes(new) {
        causes.push(Cause::forbidden(format!("{}.accessModes", old.field), made_anew()));
    }
    let size = |volume: &Volume<'_>| quantity::number(volume.size.map_or("1Gi", |size| &size.0));
    if size(old).zip(size(new)).is_some_and(|(old, new)| new < old * (1.0 - 1e-9)) {
        let message = "cannot shrink, since volumes only grow; leave it as it was, or make it larger";
        causes.push(Cause::forbidden(format!("{}.size", old.field), message));
    }
    causes
}
