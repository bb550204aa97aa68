//! The backup controller: it has backups of CAS started on other nodes, and registers their keys.

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements},
    rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject},
};
use kube::core::ObjectMeta;
use scone_api::cas::{BackupController, CASSpec};

use super::{BACKUP, Backup, Site, network::selector, part};
use crate::admission::{enclave, plain};

/// The chart's `ClusterRoles`, which nobody has but by bindings of this module.
pub(crate) mod role {
    /// To look at nodes: which there are.
    pub(crate) const NODES: &str = "scone-cas-backup-nodes";
    /// To look at pods: which key LAS has on which node.
    pub(crate) const LAS: &str = "scone-cas-backup-las";
    /// To make and delete backups.
    pub(crate) const WORKLOADS: &str = "scone-cas-backup-workloads";
}

/// The backup controller, and what it may do.
pub(super) fn backup(site: &Site<'_>, spec: &CASSpec, backup: &BackupController) -> Backup {
    let own = site.metadata(site.backup(), part::BACKUP);
    let las =
        ObjectMeta { namespace: Some(site.settings.namespace.clone()), ..site.metadata(site.binding(), part::BACKUP) };
    let nodes = ObjectMeta { namespace: None, ..las.clone() };
    let subjects = Some(vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: site.backup_account(backup),
        namespace: Some(site.namespace.to_owned()),
        ..Subject::default()
    }]);
    let bind = |metadata: ObjectMeta, role: &str| RoleBinding {
        metadata,
        role_ref: role_ref(role),
        subjects: subjects.clone(),
    };
    Backup {
        deployment: deployment(site, spec, backup),
        // The image is the choice of whoever writes the spec, who need not be allowed to make pods.
        workloads: site.vouches_for(backup).then(|| bind(own, role::WORKLOADS)),
        las: bind(las, role::LAS),
        nodes: ClusterRoleBinding { metadata: nodes, role_ref: role_ref(role::NODES), subjects: subjects.clone() },
    }
}

fn role_ref(name: &str) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: "ClusterRole".to_owned(), name: name.to_owned() }
}

fn deployment(site: &Site<'_>, spec: &CASSpec, backup: &BackupController) -> Deployment {
    let container = Container {
        name: BACKUP.to_owned(),
        image: backup.image.clone(),
        image_pull_policy: backup.image_pull_policy.clone(),
        env: Some(variables(site, spec, backup)),
        resources: Some(ResourceRequirements { limits: Some(enclave()), ..ResourceRequirements::default() }),
        security_context: backup.container_security_context.clone(),
        ..Container::default()
    };
    let pod = PodSpec {
        service_account_name: Some(site.backup_account(backup)),
        containers: vec![container],
        image_pull_secrets: backup.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        // It runs in an enclave that CAS attests, so where LAS works.
        node_selector: spec.node_selector.clone(),
        security_context: backup.pod_security_context.clone(),
        tolerations: backup.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        ..PodSpec::default()
    };
    Deployment {
        metadata: site.metadata(site.backup(), part::BACKUP),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: selector(site.labels(part::BACKUP)),
            // Two of them would start two backups on one node.
            strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(site.labels(part::BACKUP)), ..ObjectMeta::default() }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Its own variables win by name over those that follow from the rest of the spec.
fn variables(site: &Site<'_>, spec: &CASSpec, backup: &BackupController) -> Vec<EnvVar> {
    let mut variables = backup.env.clone().unwrap_or_default();
    let cas = backup.cas.clone().filter(|address| !address.is_empty());
    let address = cas.unwrap_or_else(|| format!("{}:{}", site.host(), crate::spec::client_port(spec)));
    let mut derived = vec![
        plain("NAMESPACE", site.namespace),
        plain("LAS_NAMESPACE", &site.settings.namespace),
        plain("SCONE_CAS_ADDR", &address),
        plain("SCONE_CONFIG_ID", backup.session.as_deref().unwrap_or_default()),
    ];
    if backup.debug == Some(true) {
        derived.push(plain("SCONE_LOG", "debug"));
    }
    derived.retain(|variable| !variables.iter().any(|given| given.name == variable.name));
    variables.extend(derived);
    variables
}
