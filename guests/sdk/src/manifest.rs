//! A builder for the manifest that starts from what the parent type knows.

use kube::Resource;
use operator_contract::{
    Budgets, CONTRACT_VERSION, Codec, Grants, HttpRule, KindRule, Manifest, NamespaceRule, ObjectRule, Operation,
    ParentKind, PartialRule, Phase, PodRule, RoleRule, Scope, SecretRule, WebhookRule,
};

use crate::Parent;

/// The manifest of a module that serves `P`: kind, plural, scope and CRD come from its `CustomResource` derive. `name` is a
/// DNS label of at most 40 characters, `version` the module's own, usually `env!("CARGO_PKG_VERSION")`.
pub fn module<P: Parent>(name: &str, version: &str) -> ManifestBuilder {
    empty(name, version).serves::<P>()
}

/// Like [`module`], with the CRD as JSON text (`include_str!`) instead of from the derive. The code that makes schemas is then
/// not part of the module, which becomes about 450 KB smaller. A native test of the module must hold the text equal to
/// `P::crd()`; text that is no JSON gives no CRD, which no host accepts.
pub fn module_with_crd<P: Parent>(name: &str, version: &str, crd: &str) -> ManifestBuilder {
    empty(name, version).kind::<P>(serde_json::from_str(crd).unwrap_or_default())
}

fn empty(name: &str, version: &str) -> ManifestBuilder {
    let manifest = Manifest {
        name: name.to_owned(),
        version: version.to_owned(),
        description: String::new(),
        contract: CONTRACT_VERSION.to_owned(),
        codec: Codec::Json1,
        kinds: Vec::new(),
        webhooks: Vec::new(),
        grants: Grants::default(),
        budgets: Budgets::default(),
        now_granularity: None,
        finalizer: false,
    };
    ManifestBuilder { manifest, admission_reads_status: true }
}

/// Asks for what a module needs. What is not asked for is denied.
#[derive(Clone, Debug)]
#[must_use]
pub struct ManifestBuilder {
    manifest: Manifest,
    admission_reads_status: bool,
}

impl ManifestBuilder {
    /// One sentence for people.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.manifest.description);
        self
    }

    /// One more kind, such as another version of the same.
    pub fn serves<P: Parent>(self) -> Self {
        // The CRD is made of strings, numbers and lists: it is always a JSON value.
        self.kind::<P>(serde_json::to_value(P::crd()).unwrap_or_default())
    }

    fn kind<P: Parent>(mut self, crd: serde_json::Value) -> Self {
        let cluster = crd.pointer("/spec/scope").is_some_and(|scope| scope == "Cluster");
        self.manifest.kinds.push(ParentKind {
            api_version: P::api_version(&()).into_owned(),
            kind: P::kind(&()).into_owned(),
            plural: P::plural(&()).into_owned(),
            scope: if cluster { Scope::Cluster } else { Scope::Namespaced },
            crd,
        });
        self
    }

    /// Another CRD for the last kind, where the derive cannot say everything.
    pub fn crd(mut self, crd: serde_json::Value) -> Self {
        if let Some(kind) = self.manifest.kinds.last_mut() {
            kind.crd = crd;
        }
        self
    }

    /// Children of kind `K`: created, changed and pruned for the module.
    pub fn owns<K: Resource<DynamicType = ()>>(mut self, namespaces: NamespaceRule) -> Self {
        self.manifest.grants.children.push(kind_rule::<K>(namespaces));
        self
    }

    /// Labels on objects of kind `K` that the module does not own. A key that ends in `*` covers all that start so.
    pub fn labels<K: Resource<DynamicType = ()>>(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partial_rule::<K>().labels.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Annotations on objects of kind `K` that the module does not own.
    pub fn annotations<K: Resource<DynamicType = ()>>(
        mut self,
        keys: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.partial_rule::<K>().annotations.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Other fields of objects of kind `K` that the module does not own, by their dotted paths. They stay as they are when no longer named.
    pub fn sets<K: Resource<DynamicType = ()>>(
        mut self,
        namespaces: NamespaceRule,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let rule = self.partial_rule::<K>();
        rule.fields.extend(fields.into_iter().map(Into::into));
        rule.namespaces = Some(namespaces);
        self
    }

    /// What the Roles and `ClusterRoles` among the children may allow: verbs on resources of one group.
    pub fn hands_on(mut self, group: &str, resources: &[&str], verbs: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let rule = RoleRule { api_groups: owned(&[group]), resources: owned(resources), verbs: owned(verbs) };
        self.manifest.grants.roles.push(rule);
        self
    }

    /// A `ClusterRole` of somebody else that bindings among the children may name.
    pub fn binds(mut self, cluster_role: &str) -> Self {
        self.manifest.grants.binds.push(cluster_role.to_owned());
        self
    }

    /// Object queries about kind `K`, reduced to these dotted paths; whole objects when there are none.
    pub fn reads<K: Resource<DynamicType = ()>>(
        mut self,
        namespaces: NamespaceRule,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.manifest.grants.objects.push(ObjectRule {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespaces,
            fields: fields.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Queries about log lines of pods.
    pub fn pod_logs(mut self, pods: PodRule) -> Self {
        self.manifest.grants.pod_logs.push(pods);
        self
    }

    /// Queries that run a command in pods.
    pub fn commands(mut self, pods: PodRule) -> Self {
        self.manifest.grants.commands.push(pods);
        self
    }

    /// HTTP queries and actions.
    pub fn http(mut self, servers: HttpRule) -> Self {
        self.manifest.grants.http.push(servers);
        self
    }

    /// Secrets whose values the host may use in requests to some servers. What is in them goes
    /// past the module.
    pub fn secrets(mut self, secrets: SecretRule) -> Self {
        self.manifest.grants.secrets.push(secrets);
        self
    }

    /// Actions that delete objects of kind `K`.
    pub fn deletes<K: Resource<DynamicType = ()>>(mut self, namespaces: NamespaceRule) -> Self {
        self.manifest.grants.delete.push(kind_rule::<K>(namespaces));
        self
    }

    /// Calls `default` when objects of the last kind are created or changed. `name` is the webhook's, such as `mlas.kb.io`.
    pub fn webhook_mutate(self, name: &str, path: &str) -> Self {
        self.webhook(name, path, Phase::Mutate, &[Operation::Create, Operation::Update])
    }

    /// Calls `validate` when objects of the last kind are created or changed.
    pub fn webhook_validate(self, name: &str, path: &str) -> Self {
        self.webhook(name, path, Phase::Validate, &[Operation::Create, Operation::Update])
    }

    /// A webhook about the last kind with operations of its own.
    pub fn webhook(mut self, name: &str, path: &str, phase: Phase, operations: &[Operation]) -> Self {
        let kind = self.manifest.kinds.last().map(|kind| kind.kind.clone()).unwrap_or_default();
        self.manifest.webhooks.push(WebhookRule {
            name: name.to_owned(),
            path: path.to_owned(),
            kind,
            phase,
            operations: operations.to_vec(),
            status: true,
        });
        self
    }

    /// Says that `default` and `validate` look at no status. All webhooks of the module then get objects without it, unless the request
    /// is about the status: it grows with the cluster, and is often most of what an admission would read.
    pub fn admission_without_status(mut self) -> Self {
        self.admission_reads_status = false;
        self
    }

    /// Gives the module `snapshot.now`, cut to so many seconds. Coarse is cheap: a changed time is a changed input.
    pub fn now_granularity(mut self, seconds: u32) -> Self {
        self.manifest.now_granularity = Some(seconds);
        self
    }

    /// Puts a finalizer on parents, so that the module sees their deletion.
    pub fn finalizer(mut self) -> Self {
        self.manifest.finalizer = true;
        self
    }

    /// What one call may use, where the host's defaults do not fit.
    pub fn budgets(mut self, budgets: Budgets) -> Self {
        self.manifest.budgets = budgets;
        self
    }

    /// The manifest. Where a kind has a status with a schema, what the host writes there is added to it: the API server would
    /// drop fields that no schema knows.
    pub fn build(mut self) -> Manifest {
        for kind in &mut self.manifest.kinds {
            let versions = kind.crd.pointer_mut("/spec/versions").and_then(serde_json::Value::as_array_mut);
            versions.into_iter().flatten().for_each(with_status_of_host);
        }
        for webhook in &mut self.manifest.webhooks {
            webhook.status = self.admission_reads_status;
        }
        self.manifest
    }

    fn partial_rule<K: Resource<DynamicType = ()>>(&mut self) -> &mut PartialRule {
        let (api_version, kind) = (K::api_version(&()).into_owned(), K::kind(&()).into_owned());
        let rules = &mut self.manifest.grants.partials;
        let at =
            rules.iter().position(|rule| rule.kind == kind && rule.api_version == api_version).unwrap_or_else(|| {
                rules.push(PartialRule {
                    api_version,
                    kind,
                    labels: Vec::new(),
                    annotations: Vec::new(),
                    fields: Vec::new(),
                    namespaces: None,
                });
                rules.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "the position was found or made just above")]
        &mut rules[at]
    }
}

/// Adds `conditions` and `observedGeneration` to the schema of a status that lacks them.
fn with_status_of_host(version: &mut serde_json::Value) {
    let status = version.pointer_mut("/schema/openAPIV3Schema/properties/status/properties");
    let Some(fields) = status.and_then(serde_json::Value::as_object_mut) else { return };
    fields.entry("observedGeneration").or_insert_with(|| serde_json::json!({"type": "integer", "format": "int64"}));
    fields.entry("conditions").or_insert_with(|| {
        let text = serde_json::json!({"type": "string"});
        serde_json::json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "required": ["type", "status"], "properties": {
                "type": text, "status": text, "reason": text, "message": text,
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            }},
        })
    });
}

fn kind_rule<K: Resource<DynamicType = ()>>(namespaces: NamespaceRule) -> KindRule {
    KindRule { api_version: K::api_version(&()).into_owned(), kind: K::kind(&()).into_owned(), namespaces }
}
