//! The backup controller: it has backups of CAS started on other nodes, and registers their keys.

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements},
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::core::ObjectMeta;
use scone_api::cas::{BackupController, CASSpec};

use super::{BACKUP, Backup, Site, network::selector, part};
use crate::admission::{enclave, plain};

/// The backup controller, and what it may do.
pub(super) fn backup(site: &Site<'_>, spec: &CASSpec, backup: &BackupController) -> Backup {
    let role = site.metadata(site.backup(), part::BACKUP);
    let cluster_role =
        ObjectMeta { namespace: None, name: Some(site.cluster_role()), ..site.metadata(String::new(), part::BACKUP) };
    let subjects = vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: site.backup(),
        namespace: Some(site.namespace.to_owned()),
        ..Subject::default()
    }];
    Backup {
        deployment: deployment(site, spec, backup),
        binding: RoleBinding {
            metadata: role.clone(),
            role_ref: role_ref("Role", site.backup()),
            subjects: Some(subjects.clone()),
        },
        role: Role { metadata: role, rules: Some(rules()) },
        cluster_binding: ClusterRoleBinding {
            metadata: cluster_role.clone(),
            role_ref: role_ref("ClusterRole", site.cluster_role()),
            subjects: Some(subjects),
        },
        cluster_role: ClusterRole { metadata: cluster_role, rules: Some(cluster_rules()), aggregation_rule: None },
    }
}

fn role_ref(kind: &str, name: String) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: kind.to_owned(), name }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(owned(&[group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// In its own namespace: backups come and go. The manifest asks to hand all of this on.
fn rules() -> Vec<PolicyRule> {
    let all = super::ALL;
    vec![
        rule("", &["pods"], &["get", "list", "watch", "create", "delete"]),
        rule("", &["pods/log"], &["get"]),
        rule("", &["configmaps", "services"], &all),
        rule("apps", &["deployments", "statefulsets"], &all),
    ]
}

/// In the cluster: which nodes there are, and which key LAS has there.
fn cluster_rules() -> Vec<PolicyRule> {
    vec![rule("", &["nodes", "pods"], &["get", "list", "watch"])]
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
        service_account_name: Some(site.backup()),
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
