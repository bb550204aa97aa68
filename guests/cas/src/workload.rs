//! What a CAS is made of, and how what exists stands to that.

mod backup;
mod files;
mod network;
mod owned;
mod safety;
mod stateful_set;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};
use kube::core::ObjectMeta;
use operator_guest::{Child, Readiness, Strategy};
use scone_api::cas::{BackupController, CASSpec};

pub(crate) use backup::role;
pub(crate) use owned::{Piece, pieces};
pub(crate) use scone_api::ENCLAVE;
pub(crate) use stateful_set::{Templates, database_claim, snapshots_claim};

use crate::settings::CasSettings;

/// The port of the REST API inside the pod (published; only that of the Service can be chosen).
pub(crate) const CLIENT_PORT: i32 = 8081;
/// The port for enclaves inside the pod.
pub(crate) const ENCLAVE_PORT: i32 = 18_765;
/// The container that serves (published).
pub(crate) const CAS: &str = "cas";
/// The container that shows the audit log (published).
pub(crate) const AUDIT: &str = "audit";
/// The container of the backup controller.
pub(crate) const BACKUP: &str = "backup-controller";
/// The container of the safety service.
pub(crate) const SAFETY: &str = "safety-service";
/// The volume of the database (published), and its claim's template.
pub(crate) const DATABASE: &str = "database";
/// The volume of the snapshots (published), and its claim's template.
pub(crate) const SNAPSHOTS: &str = "database-snapshots";
/// The label that names the CAS of each of its objects (published).
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
const NAME: &str = "app.kubernetes.io/name";

/// Where and under which name things are made.
pub(crate) struct Site<'a> {
    /// The name of the CAS.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// What the administrator of the operator has set.
    pub(crate) settings: &'a CasSettings,
}

impl Site<'_> {
    /// The name of the one pod of CAS (published).
    pub(crate) fn pod(&self) -> String {
        format!("{}-0", self.name)
    }

    /// The name of the claim of a volume (published for the database).
    pub(crate) fn claim(&self, volume: &str) -> String {
        format!("{volume}-{}-0", self.name)
    }

    /// The host under which CAS is reached inside the cluster.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The name of the ConfigMap with `cas.toml`.
    pub(crate) fn config(&self) -> String {
        format!("{}-config", self.name)
    }

    /// The name of the Secret with the owner's files.
    pub(crate) fn owner(&self) -> String {
        format!("{}-owner", self.name)
    }

    /// The name of the backup controller and of what it needs.
    pub(crate) fn backup(&self) -> String {
        format!("{}-backup-controller", self.name)
    }

    /// Whether the administrator vouches for the image of a backup controller, which may make pods then.
    pub(crate) fn vouches_for(&self, backup: &BackupController) -> bool {
        backup.image.as_deref().is_some_and(|image| self.settings.vouches_for(image))
    }

    /// The account of a backup controller. One that may make pods has another than one that may not: image and account
    /// are in one template of a pod, so that in no order of writing, nor when pruning fails, an image runs with the rights
    /// of another.
    pub(crate) fn backup_account(&self, backup: &BackupController) -> String {
        if self.vouches_for(backup) { self.backup() } else { format!("{}-unvouched", self.backup()) }
    }

    /// The name of the backup controller's bindings where those of others are too. A colon is in no name of a namespace,
    /// so that no two meet.
    pub(crate) fn binding(&self) -> String {
        format!("scone:{}:{}", self.namespace, self.backup())
    }

    /// The name of the safety service and of its budget.
    pub(crate) fn safety(&self) -> String {
        format!("{}-safety-service", self.name)
    }

    /// The labels of a part, by which its pods are found; immutable in workloads.
    pub(crate) fn labels(&self, part: &str) -> BTreeMap<String, String> {
        [(NAME, part), (INSTANCE, self.name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn metadata(&self, name: String, part: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels(part)),
            ..ObjectMeta::default()
        }
    }
}

/// What goes by the label of a part (published for the first two).
mod part {
    pub(super) const CAS: &str = "cas";
    pub(super) const BACKUP: &str = "bc";
    pub(super) const SAFETY: &str = "cas-safety-service";
}

/// Everything that should exist. Claims of volumes are not among it: the `StatefulSet` has them made, and nothing that is made
/// here owns them, so nothing takes them away.
pub(crate) struct Objects {
    pub(crate) config: ConfigMap,
    pub(crate) owner: Option<Secret>,
    pub(crate) accounts: Vec<ServiceAccount>,
    pub(crate) service: Service,
    pub(crate) budget: PodDisruptionBudget,
    pub(crate) policy: Option<NetworkPolicy>,
    pub(crate) set: StatefulSet,
    pub(crate) backup: Option<Backup>,
    pub(crate) safety: Option<(Deployment, PodDisruptionBudget)>,
}

/// The backup controller, and what it may do.
pub(crate) struct Backup {
    pub(crate) deployment: Deployment,
    /// To make backups, in its own namespace: only for an image that the administrator vouches for.
    pub(crate) workloads: Option<RoleBinding>,
    /// To look at the pods of LAS.
    pub(crate) las: RoleBinding,
    /// To look at nodes.
    pub(crate) nodes: ClusterRoleBinding,
}

/// Everything that should exist. `spec` has its defaults already; `templates` are those of the volumes.
pub(crate) fn objects(site: &Site<'_>, spec: &CASSpec, templates: &Templates) -> Objects {
    let backup = crate::spec::backup(spec);
    let mut accounts = vec![network::account(site, site.name.to_owned(), part::CAS)];
    accounts.extend(backup.map(|backup| network::account(site, site.backup_account(backup), part::BACKUP)));
    Objects {
        config: files::config(site, spec),
        owner: files::owner(site, spec),
        accounts,
        service: network::service(site, spec),
        budget: network::budget(site),
        policy: network::policy(site, spec),
        set: stateful_set::stateful_set(site, spec, templates),
        backup: backup.map(|backup| backup::backup(site, spec, backup)),
        safety: crate::spec::safety(spec).map(|safety| safety::safety(site, spec, safety)),
    }
}

impl Objects {
    /// The children, in the order in which they are made. Workloads with a field that cannot be changed are made again: volumes
    /// stay, and the pod comes back to them under the same name.
    pub(crate) fn children(&self) -> Vec<Child> {
        let again = |child: Child| child.strategy(Strategy::RecreateOnImmutable);
        let mut children = vec![Child::of(&self.config)];
        children.extend(self.owner.as_ref().map(Child::of));
        children.extend(self.accounts.iter().map(Child::of));
        children.extend([Child::of(&self.service), Child::of(&self.budget)]);
        children.extend(self.policy.as_ref().map(Child::of));
        children.push(again(Child::of(&self.set)));
        if let Some(backup) = &self.backup {
            children.extend(backup.workloads.as_ref().map(Child::of).map(again));
            children
                .extend([Child::of(&backup.las), Child::of(&backup.nodes), Child::of(&backup.deployment)].map(again));
        }
        if let Some((deployment, budget)) = &self.safety {
            // Its own statuses tell of its pods: one may be missing, and CAS is ready all the same.
            let deployment = again(Child::of(deployment)).readiness(Readiness::Exists);
            children.extend([deployment, Child::of(budget)]);
        }
        children
    }
}
