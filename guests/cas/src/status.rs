//! From what is observed to one state with its reason, one phase, and the rest of the status.

mod conditions;
mod state;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use scone_api::{
    State,
    cas::{Attestable, CAS, CASSpec, CASStatus, Phase, Provisioned, SnapshotStatus},
    missing::{self, Pods},
    owned::Owned,
    pod::ObservedPod,
    problem::Problem,
};

use crate::{
    migration::Migration,
    observe::Observation,
    safety::Safety,
    service::Said,
    snapshots::Snapshots,
    spec,
    volumes::{self, Volumes},
    workload::{self, Piece, Site},
};

/// The condition that remembers since when CAS is ready.
const LISTENS: &str = "Listening";

/// The condition that tells whether CAS could be attested when it was tried last.
const ATTESTED: &str = "Attested";

/// The condition that tells whether the backup controller may make pods.
const TRUSTED: &str = "BackupControllerTrusted";

/// The verdict: the status, and why.
pub(crate) struct Judgement {
    pub(crate) status: CASStatus,
    /// The reason and message of `Ready` and `IsHealthy`.
    pub(crate) why: Problem,
}

/// Everything that the verdict depends on.
pub(crate) struct Evidence<'a> {
    pub(crate) parent: &'a CAS,
    pub(crate) spec: &'a CASSpec,
    pub(crate) site: &'a Site<'a>,
    pub(crate) observation: &'a Observation,
    pub(crate) pieces: &'a [Piece],
    pub(crate) said: &'a Said,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) migration: &'a Migration,
    pub(crate) safety: &'a Safety,
    pub(crate) volumes: &'a Volumes<'a>,
    /// How long a stuck pod must be stuck before it is deleted.
    pub(crate) backoff: Option<String>,
    /// Unix seconds.
    pub(crate) now: i64,
}

/// Judges one CAS.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let Evidence { spec, observation, said, snapshots, migration, safety, .. } = evidence;
    let ready = evidence.ready_replicas();
    let budget = observation.budget.as_ref().map_or(0, |budget| budget.status.disruptions_allowed);
    let persists = |volume: &str| match volume {
        workload::DATABASE => spec::database(spec).is_some(),
        _ => spec::snapshots(spec).is_some_and(spec::snapshots_persist),
    };
    let claim = |volume: &str| volumes::status(observation, volume, persists(volume));
    let status = CASStatus {
        state: State::Pending,
        phase: Phase::Uninitialized,
        version: Some(said.version.clone()),
        provisioned: said.provisioned,
        attestable: said.attestable,
        snapshot_status: Some(snapshots.status),
        snapshot_timestamp: snapshots.taken.clone(),
        snapshot_checkup_timestamp: snapshots.checked.clone(),
        snapshot_configured_interval: snapshots.interval,
        migration_node_ratio: migration.ratio.clone(),
        num_migratable_nodes: migration.registered,
        desired_num_migratable_nodes: migration.wanted,
        migration_node_alert: Some(migration.alert),
        migration_controller_replica_alert: Some(migration.replica_alert),
        replica_alert: Some(ready.map_or(-1, |ready| (1 - ready).max(0))),
        ready_replicas: Some(ready.unwrap_or(-1)),
        pod_disruption_budget_alert: budget.clamp(0, 1),
        nonce: Some(said.nonce.clone()),
        dcap_report: said.report.clone(),
        main_pod_deletion_attempt_backoff_time: evidence.backoff.clone(),
        safety_service_status: Some(safety.status),
        safety_service_deployment_status: Some(safety.deployment),
        safety_service_pdb_status: Some(safety.budget),
        safety_service_active_status: safety.active,
        database_pvc_status: claim(workload::DATABASE),
        snapshot_pvc_status: claim(workload::SNAPSHOTS),
        pccs_enabled: spec.pccs_config.as_ref().map(|pccs| pccs.enabled),
        conditions: Vec::new(),
        observed_generation: None,
    };
    let (state, why) = evidence.state();
    let facts = (state, said.provisioned, said.attestable);
    let failed = evidence.attestation_failed();
    let phase = phase(facts, failed, migration.is_enabled(), evidence.is_upgrading(), snapshots.status);
    Judgement { status: CASStatus { state, phase, ..status }, why }
}

/// The phase: the first that holds. Registering nodes comes before being pending, since clients wait for it when they change the
/// image of backups, and it may be over before the state is anything else. An upgrade is what a pod waits for that is pending.
#[expect(clippy::match_same_arms, reason = "the first that holds, in order")]
pub(crate) fn phase(
    (state, provisioned, attestable): (State, Provisioned, Attestable),
    attestation_failed: bool,
    may_migrate: bool,
    is_upgrading: bool,
    snapshots: SnapshotStatus,
) -> Phase {
    match (provisioned, state) {
        (Provisioned::No | Provisioned::Unknown, State::Pending) => Phase::Uninitialized,
        (Provisioned::No, _) => Phase::Unprovisioned,
        _ if attestation_failed && state != State::Pending => Phase::AttestationFailure,
        (Provisioned::Unknown, _) if attestable != Attestable::Yes => Phase::Uninitialized,
        (Provisioned::Unknown, _) => Phase::Unhealthy,
        (Provisioned::Yes, _) if !may_migrate => Phase::EnablingMigration,
        (Provisioned::Yes, State::Pending) if is_upgrading => Phase::Upgrading,
        (Provisioned::Yes, State::Pending) => Phase::Provisioned,
        (Provisioned::Yes, _) if snapshots == SnapshotStatus::Failed => Phase::SnapshotFailure,
        (Provisioned::Yes, State::Unhealthy) => Phase::Unhealthy,
        (Provisioned::Yes, State::Healthy) => Phase::Healthy,
    }
}

impl Evidence<'_> {
    /// The conditions as the host has dated them.
    fn conditions(&self) -> &[v1::Condition] {
        self.parent.status.as_ref().map_or(&[][..], |status| &status.conditions)
    }

    fn main_pod(&self) -> Option<&ObservedPod> {
        self.observation.main_pod(self.site)
    }

    /// Whether somebody tried to attest CAS, and could not: now, or when it was last ready.
    fn attestation_failed(&self) -> bool {
        let earlier =
            self.conditions().iter().any(|condition| condition.type_ == ATTESTED && condition.status == "False");
        self.said.attestable != Attestable::Yes && (self.said.failure.is_some() || earlier)
    }

    /// Whether CAS changes to another image: its pod has the one before, or has not been ready since.
    fn is_upgrading(&self) -> bool {
        let image = self.main_pod().and_then(|pod| pod.image(workload::CAS));
        let differs = image.is_some_and(|image| self.spec.image.as_deref().is_some_and(|wanted| wanted != image));
        let earlier = self.parent.status.as_ref().map(|status| status.phase);
        let goes_on = earlier == Some(Phase::Upgrading) && self.ready_replicas() != Some(1);
        differs || goes_on
    }

    /// Ready pods of CAS; none while the pods are unknown.
    fn ready_replicas(&self) -> Option<i32> {
        self.observation.pods.as_ref()?;
        Some(i32::from(self.main_pod().is_some_and(|pod| pod.is_ready() && !pod.is_leaving())))
    }

    fn is_overdue(&self, condition: &str, status: &str) -> bool {
        missing::is_overdue(self.conditions(), condition, status, self.now)
    }

    /// Whether the pod of CAS is there, once that is known.
    fn pods(&self) -> Option<Pods> {
        self.observation.pods.as_ref()?;
        let present = self.main_pod().is_some_and(|pod| pod.is_present(self.now));
        Some(Pods::counted(usize::from(present), 1, "statefulset"))
    }

    /// The objects for the conditions that every kind has.
    pub(crate) fn owned(&self) -> impl Iterator<Item = &Owned> {
        self.pieces.iter().map(|piece| &piece.owned)
    }
}

/// Whether a problem means that an object cannot be changed as the spec wants, and would have to be made again.
pub(crate) fn is_stuck(owned: &Owned, conditions: &[v1::Condition], now: i64) -> bool {
    owned.waits(conditions, now).is_some_and(|(_, problem)| problem.reason == "RolloutStuck")
}

/// The status of a CAS that is being deleted: what was known of it, pending.
pub(crate) fn going(parent: &CAS) -> CASStatus {
    let earlier = parent.status.clone().unwrap_or_else(|| CASStatus {
        version: Some("unknown".to_owned()),
        migration_node_ratio: "Disabled".to_owned(),
        ..CASStatus::default()
    });
    CASStatus {
        state: State::Pending,
        phase: Phase::Deleted,
        main_pod_deletion_attempt_backoff_time: None,
        conditions: Vec::new(),
        observed_generation: None,
        ..earlier
    }
}
