//! What a module says about itself before anything of it runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The manifest of one module. In JSON all keys are camelCase; unknown keys are refused, so that a typo is no silent loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The module's name: a DNS label of at most 40 characters. It becomes part of field managers and metrics.
    pub name: String,
    /// The module's own version, as in semantic versioning.
    pub version: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// The contract version that the module was built against, such as `1.0.0`.
    pub contract: String,
    /// How documents are encoded.
    pub codec: Codec,
    /// The custom resources that this module serves, with their CRDs.
    #[serde(default)]
    pub kinds: Vec<ParentKind>,
    /// The admission requests that this module wants to see.
    #[serde(default)]
    pub webhooks: Vec<WebhookRule>,
    /// What the module asks to be allowed.
    #[serde(default)]
    pub grants: Grants,
    /// What the module needs; absent values take the host's defaults, larger ones need the host's consent.
    #[serde(default)]
    pub budgets: Budgets,
    /// Seconds to which `snapshot.now` is cut; absent when the module wants no time at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_granularity: Option<u32>,
    /// Whether the host puts a finalizer on parents, so that the module sees their deletion.
    #[serde(default)]
    pub finalizer: bool,
}

/// How Kubernetes objects are encoded in documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// JSON as the API server sends it.
    #[serde(rename = "json/1")]
    Json1,
}

/// One custom resource that a module serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentKind {
    /// Group and version, such as `base.scone.cloud/v1beta1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The plural in URLs. Never guessed: `LAS` would become `lases`.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// The whole `CustomResourceDefinition`.
    pub crd: Value,
}

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster.
    Cluster,
}

/// Which admission requests about one of the module's own kinds reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookRule {
    /// The webhook's name in its configuration, such as `vlas.kb.io`.
    pub name: String,
    /// The path it is served under, such as `/validate-base-scone-cloud-v1beta1-las`.
    pub path: String,
    /// One of the manifest's kinds.
    pub kind: String,
    /// Which phase.
    pub phase: Phase,
    /// Which operations.
    pub operations: Vec<Operation>,
    /// Whether objects come with their status. Of a request about the status they always do.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub status: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// The two phases of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The module may change the object.
    Mutate,
    /// The module may only accept or refuse.
    Validate,
}

/// What is being done to an object, in the spelling of the admission API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
    /// A connection to a subresource.
    Connect,
}

/// What a module may do beyond reading its own parents and writing their status. Empty means: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grants {
    /// Children that it may have created, changed and pruned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<KindRule>,
    /// Labels, annotations and other fields that it may set on objects that it does not own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<PartialRule>,
    /// Objects that it may ask about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRule>,
    /// Pods whose log lines it may ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_logs: Vec<PodRule>,
    /// Pods in which it may have a command run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<PodRule>,
    /// Servers that it may ask or tell something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRule>,
    /// Secrets whose values the host may use in its requests. The module itself sees none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRule>,
    /// Objects that it may have deleted by an action.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<KindRule>,
    /// What the Roles and `ClusterRoles` among its children may allow. The host must hold all of it: nobody can hand on what he lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleRule>,
    /// `ClusterRoles` of others that the bindings among its children may name, such as `system:auth-delegator`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
}

/// Verbs on resources, as rules of roles have them. `*` is no wildcard here: it covers a `*` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleRule {
    /// API groups; `""` is the one without a name.
    pub api_groups: Vec<String>,
    /// Resources, with their subresources: `pods`, `pods/log`.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

/// One kind, in some namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindRule {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// In which namespaces.
    #[serde(default)]
    pub namespaces: NamespaceRule,
}

/// Which namespaces a rule covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NamespaceRule {
    /// The namespace of the parent; nothing when the parent has none.
    #[default]
    Parent,
    /// The namespace that the parent's `spec.namespace` names, or else the operator's own. For cluster-scoped parents.
    Target,
    /// All of them, and cluster-scoped objects.
    All,
    /// These.
    Named(Vec<String>),
}

/// Fields of one kind. A label or annotation key that ends in `*` covers all keys that start so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartialRule {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Label keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Annotation keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
    /// Dotted paths of other fields, such as `spec.resources.requests.storage` of a claim. They are set, but never withdrawn, since nobody
    /// knows what they were before: once set, such a field stays as it is when it is no longer named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// In which namespaces; everywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceRule>,
}

/// Objects of one kind, reduced to some fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRule {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// In which namespaces.
    #[serde(default)]
    pub namespaces: NamespaceRule,
    /// Dotted paths of the fields that may be seen; all when empty. The host caches nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Pods of the module's own children, by container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRule {
    /// In which namespaces.
    #[serde(default)]
    pub namespaces: NamespaceRule,
    /// Labels that the pod must carry.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Container names.
    pub containers: Vec<String>,
    /// For commands: the programs that may be run, the first word of the command. Empty for logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
}

/// Some requests to some servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRule {
    /// Host pattern: a name, or `*.suffix`, or `*`.
    pub host: String,
    /// Ports; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Methods. `GET` and `HEAD` serve queries, the others actions.
    pub methods: Vec<String>,
}

/// Some Secrets of the namespace whose Secrets its requests may name, for some servers: values go into headers and answers to a registry's
/// challenge, and authorities say which server is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRule {
    /// Names. One that ends in `*` covers all names that start so.
    pub names: Vec<String>,
    /// Labels that the Secret must carry, all of them.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Host patterns of the servers, as in [`HttpRule::host`].
    pub hosts: Vec<String>,
}

/// What one call may use. Zero or absent means the host's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budgets {
    /// Wall-clock time of one call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u32>,
    /// Linear memory, in KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u32>,
    /// Instructions of one call, where they are counted (`modctl`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Children in one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<u32>,
    /// Bytes of one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u32>,
}
