//! The state of a CAS and why, from what needs a human first to what is on its way last.

use scone_api::{
    State,
    cas::{Attestable, Provisioned, SafetyStatus, SnapshotStatus},
    observe::unix_seconds,
    problem::Problem,
    report,
};

use super::{Evidence, LISTENS};
use crate::{cli, main_pod, migration, safety, spec, workload};

fn pending(reason: &'static str, message: impl Into<String>) -> (State, Problem) {
    (State::Pending, Problem::new(reason, message.into()))
}

fn unhealthy(reason: &'static str, message: impl Into<String>) -> (State, Problem) {
    (State::Unhealthy, Problem::new(reason, message.into()))
}

impl Evidence<'_> {
    /// The state and why. What needs a human comes first, what is on its way last.
    pub(super) fn state(&self) -> (State, Problem) {
        let found = self.obstacles().or_else(|| self.waits()).or_else(|| self.main()).or_else(|| self.service());
        let found = found.or_else(|| self.backups()).or_else(|| self.rest());
        found.unwrap_or_else(|| {
            let message = format!("CAS {} is provisioned, can be attested, and works", self.said.version);
            (State::Healthy, Problem::new("Healthy", message))
        })
    }

    /// What is wrong with pods, and what cannot be seen.
    fn obstacles(&self) -> Option<(State, Problem)> {
        let observation = self.observation;
        let look = |pod, containers: &[&str], what| main_pod::problems(pod, containers, observation, what);
        let mut problems: Vec<Problem> =
            self.main_pod().map(|pod| look(pod, &[workload::CAS, workload::AUDIT], "CAS")).unwrap_or_default();
        problems.extend(
            observation
                .pods_with(workload::BACKUP)
                .flat_map(|pod| look(pod, &[workload::BACKUP], "the backup controller")),
        );
        // The safety service may lose pods with their nodes, as its own statuses tell.
        let safety = observation.pods_with(workload::SAFETY).flat_map(|pod| look(pod, &[workload::SAFETY], "safety"));
        problems.extend(safety.filter(|problem| !["Unschedulable", "NodeNotReady"].contains(&problem.reason)));
        if let Some(problem) = report::summary(&problems, "see kubectl get pods") {
            return Some((State::Unhealthy, problem));
        }
        let failure = self.migration.failure.as_ref();
        let unread = failure.map(|failure| format!("the log of the backup controller cannot be read: {failure}"));
        let errors: Vec<_> = observation.errors.iter().cloned().chain(unread).collect();
        (!errors.is_empty())
            .then(|| unhealthy("ClusterUnreadable", format!("{}; let the operator do that", errors.join("; "))))
    }

    /// Objects that are not as wanted yet.
    fn waits(&self) -> Option<(State, Problem)> {
        let found: Vec<_> =
            self.pieces.iter().filter_map(|piece| piece.owned.waits(self.conditions(), self.now)).collect();
        let worst = found.iter().position(|(state, _)| *state == State::Unhealthy).unwrap_or(0);
        found.into_iter().nth(worst)
    }

    /// The pod of CAS.
    fn main(&self) -> Option<(State, Problem)> {
        if self.observation.pods.is_none() || self.observation.nodes.is_none() {
            return Some(pending("Observing", "the pods and nodes are not known yet"));
        }
        let Some(pod) = self.main_pod() else {
            let overdue = self.pods().and_then(|pods| pods.overdue(self.conditions(), self.now, ""));
            return Some(match overdue {
                Some(problem) => (State::Unhealthy, problem),
                None => pending("PodsStarting", "the pod of CAS is not made yet"),
            });
        };
        let name = &pod.metadata.name;
        if pod.is_leaving() {
            let overdue = self.pods().and_then(|pods| pods.overdue(self.conditions(), self.now, ""));
            return Some(match overdue {
                Some(problem) => (State::Unhealthy, problem),
                None => pending("PodsStarting", format!("pod {name} ends, and is made again")),
            });
        }
        // Between a change and the end of the pod that was made before it.
        let counts = self.observation.set.as_ref().and_then(|set| set.current());
        if pod.is_ready() && counts.is_some_and(|counts| counts.updated_replicas < 1) {
            return Some(pending(
                "RollingOut",
                format!("pod {name} is of before the latest change, and is made again"),
            ));
        }
        if pod.is_ready() {
            return None;
        }
        let made =
            pod.running_since(workload::CAS).or_else(|| unix_seconds(pod.metadata.creation_timestamp.as_deref()?));
        let allowed = spec::start(self.spec);
        if made.is_some_and(|made| self.now - made >= allowed) {
            let message = format!(
                "pod {name} is not ready, and nothing says why; see: kubectl describe pod -n {} {name}",
                self.site.namespace
            );
            return Some(unhealthy("PodNotReady", message));
        }
        Some(pending("PodsStarting", format!("pod {name} starts")))
    }

    /// What CAS itself says.
    fn service(&self) -> Option<(State, Problem)> {
        let (said, name, namespace) = (self.said, self.site.name, self.site.namespace);
        let settled = self.is_overdue(LISTENS, "True");
        if said.attestable != Attestable::Yes {
            let how = said.failure.as_deref().unwrap_or("nobody could try");
            let las = self.main_pod().and_then(|pod| pod.node()).filter(|node| !self.observation.has_las(node));
            let las = las.map_or_else(String::new, |node| {
                format!("LAS does not work on its node {node}, see: kubectl get las -o yaml; else ")
            });
            let message = format!(
                "CAS could not be attested ({how}); {las}see: kubectl exec -n {namespace} {name}-0 -c cas -- {}",
                cli::ATTEST.join(" ")
            );
            let is_new = !said.is_attestation_known && !settled;
            return Some(if is_new {
                pending("Observing", "CAS is not attested yet")
            } else {
                unhealthy("AttestationFailed", message)
            });
        }
        match said.provisioned {
            Provisioned::Yes => None,
            Provisioned::No if spec::owner_config(self.spec).is_some() && !settled => {
                Some(pending("Provisioning", "CAS provisions itself"))
            }
            Provisioned::No => Some(unhealthy(
                "Unprovisioned",
                format!("CAS is not provisioned; provision it: kubectl provision cas {name} -n {namespace}"),
            )),
            Provisioned::Unknown if !settled => {
                Some(pending("Observing", "whether CAS is provisioned is not known yet"))
            }
            Provisioned::Unknown => Some(unhealthy(
                "CASUnreachable",
                format!(
                    "whether CAS is provisioned cannot be told, since {} does not answer the operator as it should; let \
                     network policies allow it, and see: kubectl logs -n {namespace} {name}-0 -c cas",
                    self.site.host()
                ),
            )),
        }
    }

    /// Whether CAS may move.
    fn backups(&self) -> Option<(State, Problem)> {
        let migration = self.migration;
        if migration.is_enabled() {
            return self.controller();
        }
        let message = if migration.since.is_some() {
            format!(
                "{} of {} nodes have registered their backup; wait for the others, or see: kubectl logs -n {} deploy/{}",
                migration.registered,
                migration.wanted,
                self.site.namespace,
                self.site.backup()
            )
        } else {
            format!(
                "the backup controller has not registered nodes yet; wait, or see: kubectl logs -n {} deploy/{}",
                self.site.namespace,
                self.site.backup()
            )
        };
        // Published: a CAS is unhealthy while its backups are registered anew.
        Some(unhealthy("NodesNotRegistered", message))
    }

    /// The backup controller, once all nodes are registered.
    fn controller(&self) -> Option<(State, Problem)> {
        if self.migration.replica_alert == 0 {
            return None;
        }
        let name = self.site.backup();
        Some(if self.is_overdue(migration::READY, "False") {
            let message = format!(
                "the pod of the backup controller is not ready; see: kubectl describe -n {} deploy {name}",
                self.site.namespace
            );
            unhealthy("BackupControllerNotReady", message)
        } else {
            pending("BackupControllerStarting", "the pod of the backup controller is not ready yet")
        })
    }

    /// What is left.
    fn rest(&self) -> Option<(State, Problem)> {
        if self.snapshots.status == SnapshotStatus::Failed {
            let message = format!(
                "snapshots of the database are not taken; see: kubectl logs -n {} {}-0 -c cas, and whether their volume is full",
                self.site.namespace, self.site.name
            );
            return Some(unhealthy("SnapshotFailed", message));
        }
        let allowed = self.observation.budget.as_ref().map_or(0, |budget| budget.status.disruptions_allowed);
        if allowed > 0 {
            let message = format!(
                "pod {}-0 may be evicted, and might not start again; remove what changes PodDisruptionBudget {}",
                self.site.name, self.site.name
            );
            return Some(unhealthy("MayBeEvicted", message));
        }
        match self.safety.status {
            SafetyStatus::Unhealthy if self.is_overdue(safety::HEALTHY, "False") => Some(unhealthy(
                "SafetyServiceUnhealthy",
                format!(
                    "{}; see: kubectl describe deploy -n {} {}",
                    self.safety.message(),
                    self.site.namespace,
                    self.site.safety()
                ),
            )),
            SafetyStatus::Unhealthy | SafetyStatus::Unknown => {
                Some(pending("SafetyServiceStarting", self.safety.message()))
            }
            SafetyStatus::Disabled | SafetyStatus::Healthy | SafetyStatus::Alert => None,
        }
    }
}
