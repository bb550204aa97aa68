//! The conditions that are about this kind alone. Some of them remember something: the host dates them, and keeps their messages.

use operator_guest::Condition;
use scone_api::{
    cas::{Attestable, BackupController, Provisioned},
    missing,
};

use super::{ATTESTED, Evidence, LISTENS, TRUSTED};
use crate::{
    migration::{self, Migration},
    service,
    settings::repository,
    snapshots, spec, workload,
};

impl Evidence<'_> {
    /// The conditions that are about this kind alone.
    pub(crate) fn own_conditions(&self) -> Vec<Condition> {
        let ready = self.ready_replicas().map(|ready| ready > 0);
        let listens = match ready {
            Some(true) => Condition::true_(LISTENS, "Ready", "the pod of CAS is ready"),
            Some(false) => Condition::false_(LISTENS, "NotReady", "the pod of CAS is not ready"),
            None => Condition::unknown(LISTENS, "Observing", "the pods are not known yet"),
        };
        let mut conditions = vec![missing::condition(self.pods()), listens, self.attested(), self.provisioned()];
        conditions.extend([self.reported(), self.volumes.condition()]);
        conditions.extend(spec::backup(self.spec).into_iter().flat_map(|_| [self.enabled(), self.controls()]));
        conditions.extend(spec::backup(self.spec).map(|backup| self.trusted(backup)));
        conditions.extend(self.safety.condition());
        conditions
    }

    fn attested(&self) -> Condition {
        let earlier =
            self.conditions().iter().find(|condition| condition.type_ == ATTESTED && condition.status == "False");
        match (self.said.attestable, &self.said.failure, earlier) {
            (Attestable::Yes, ..) => Condition::true_(ATTESTED, "Attested", "CAS could be attested"),
            (_, Some(how), _) => {
                Condition::false_(ATTESTED, "AttestationFailed", format!("CAS could not be attested: {how}"))
            }
            // Like the status, which keeps what was known while CAS is not ready.
            (_, None, Some(earlier)) => Condition::false_(ATTESTED, "AttestationFailed", earlier.message.clone()),
            (_, None, None) => Condition::unknown(ATTESTED, "Observing", "nobody has tried yet"),
        }
    }

    fn provisioned(&self) -> Condition {
        let type_ = snapshots::PROVISIONED;
        match self.said.provisioned {
            Provisioned::Yes => {
                Condition::true_(type_, "Provisioned", "the policy that marks a provisioned CAS can be read")
            }
            Provisioned::No => {
                Condition::false_(type_, "NotProvisioned", "there is no policy that marks a provisioned CAS")
            }
            Provisioned::Unknown => {
                Condition::unknown(type_, "Observing", "the mark of a provisioned CAS cannot be read")
            }
        }
    }

    fn reported(&self) -> Condition {
        let type_ = service::REPORTED;
        match (&self.said.reported, &self.said.unreported) {
            // The end of this message is how the next reconcile knows which start of CAS the report is of.
            (Some(start), _) => {
                Condition::true_(type_, "Reported", format!("status.dcapReport is of the CAS that started at {start}"))
            }
            (None, Some(why)) => Condition::false_(type_, "NoReport", format!("there is no DCAP report: {why}")),
            (None, None) => Condition::unknown(type_, "Observing", "CAS has not made a DCAP report since it started"),
        }
    }

    fn enabled(&self) -> Condition {
        let type_ = migration::ENABLED;
        let Migration { ratio, since, .. } = self.migration;
        match since {
            // The end of this message is how the next reconcile knows which controller has registered them.
            Some(since) => {
                let message = format!("{ratio} nodes are registered by the backup controller that started at {since}");
                if self.migration.wanted == 0 {
                    Condition::false_(type_, "NoSGXNode", message)
                } else if self.migration.is_enabled() {
                    Condition::true_(type_, "Registered", message)
                } else {
                    Condition::false_(type_, "Registering", message)
                }
            }
            None => Condition::unknown(type_, "Initializing", "the backup controller has not registered nodes yet"),
        }
    }

    fn controls(&self) -> Condition {
        match self.migration.replica_alert {
            0 => Condition::true_(migration::READY, "Ready", "the pod of the backup controller is ready"),
            1 => Condition::false_(migration::READY, "NotReady", "the pod of the backup controller is not ready"),
            _ => Condition::unknown(migration::READY, "Observing", "the pods are not known yet"),
        }
    }

    /// Whether the backup controller may make pods, and what an administrator can do when it may not.
    fn trusted(&self, backup: &BackupController) -> Condition {
        let site = self.site;
        let given = repository(backup.image.as_deref().unwrap_or_default());
        if site.vouches_for(backup) {
            let message = format!("the administrator vouches for images of {given}");
            return Condition::true_(TRUSTED, "ImageVouchedFor", message);
        }
        let (own, namespace, account) =
            (site.settings.backup_repository(), site.namespace, site.backup_account(backup));
        let role = workload::role::WORKLOADS;
        let message = format!(
            "no administrator vouches for images of {given}, so that the backup controller may not make backups: \
             write an image of {own} into spec.backup-controller.image, or have an administrator add {given} to the \
             setting backupImages of module cas, or bind the role by hand: kubectl -n {namespace} create rolebinding \
             {account} --clusterrole={role} --serviceaccount={namespace}:{account}"
        );
        Condition::false_(TRUSTED, "ImageNotVouchedFor", message)
    }
}
