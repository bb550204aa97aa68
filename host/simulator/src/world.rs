//! A cluster with modules in it: what a host with loaded modules is to a real one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use operator_controller::{Clock, Context, Error, Outcome, Outside, reconcile};
use operator_core::{
    Document, Module, ObjectRef, Request, Serving, User,
    contract::{Manifest, Operation, Phase},
    judge, schema,
};
use serde_json::Value;

use crate::{
    Actors, FakeCluster,
    cluster::{Admission, Admitted, Refused},
    outside::{Certificate, Program, Reply, Script, Sent},
};

/// A cluster, its actors, and the modules that serve it.
pub struct World {
    /// The cluster.
    pub cluster: FakeCluster,
    /// Who else works in it.
    pub actors: Actors,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    script: Arc<Script>,
    webhooks: Arc<Webhooks>,
    modules: BTreeMap<String, Served>,
    namespace: String,
}

/// One module that serves.
struct Served {
    serving: Arc<Serving>,
    context: Context,
}

/// Why a world cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no runtime could be started; the machine is out of threads or file handles")]
pub struct WorldError(#[from] std::io::Error);

impl World {
    /// An empty cluster with the operator's namespace and a default storage class, `standard`.
    pub fn new(namespace: &str) -> Result<Self, WorldError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let cluster = FakeCluster::new();
        let client = {
            let _inside = runtime.enter();
            cluster.client()
        };
        let webhooks = Arc::new(Webhooks::default());
        cluster.set_admission(Arc::clone(&webhooks) as Arc<dyn Admission>);
        let script = Arc::new(Script::new(cluster.clone()));
        let world = Self {
            cluster,
            actors: Actors::default(),
            runtime,
            client,
            script,
            webhooks,
            modules: BTreeMap::new(),
            namespace: namespace.to_owned(),
        };
        world.add_namespace(namespace);
        world.cluster.put(serde_json::json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/simulated",
            "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "allowVolumeExpansion": true,
        }));
        Ok(world)
    }

    /// Adds a namespace.
    pub fn add_namespace(&self, name: &str) {
        self.cluster.put(serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }

    /// Lets a module serve its kinds under a name, with all the grants that it asks for, and installs its CRDs.
    pub fn serve(&mut self, name: &str, module: Arc<dyn Module>, settings: Document) {
        let manifest = module.manifest().clone();
        let serving = Arc::new(Serving::new(module));
        self.webhooks.serve(&manifest, Arc::clone(&serving), settings.clone());
        self.install(name, &manifest, serving, settings);
    }

    /// Swaps the module that serves under a name; false when none does. Calls under way end on the old one.
    pub fn swap(&mut self, name: &str, module: Arc<dyn Module>) -> bool {
        let Some(served) = self.modules.get(name) else { return false };
        let (serving, settings) = (Arc::clone(&served.serving), served.context.settings.clone());
        let manifest = module.manifest().clone();
        serving.swap(module);
        self.install(name, &manifest, serving, settings);
        true
    }

    /// CRDs and grants of the version that serves from now on.
    fn install(&mut self, name: &str, manifest: &Manifest, serving: Arc<Serving>, settings: Document) {
        for kind in &manifest.kinds {
            self.cluster.put(kind.crd.clone());
        }
        let context = Context::new(
            self.client.clone(),
            Arc::new(self.cluster.clone()),
            Arc::clone(&self.script) as Arc<dyn Outside>,
            Arc::new(self.cluster.clone()) as Arc<dyn Clock>,
            Arc::clone(&serving),
            manifest.grants.clone(),
            settings,
            self.namespace.clone(),
        );
        self.modules.insert(name.to_owned(), Served { serving, context });
    }

    /// The modules that serve, by name.
    pub fn serving(&self) -> impl Iterator<Item = (&str, &Arc<Serving>)> {
        self.modules.iter().map(|(name, served)| (name.as_str(), &served.serving))
    }

    /// Adds a line that containers of an image log. `{node}` and `{pod}` stand for the pod's.
    pub fn add_log(&self, image: &str, line: &str) {
        self.script.add_log(image, line);
    }

    /// Says what a program does in containers of an image. What is said last holds.
    pub fn add_program(&self, program: Program) {
        self.script.add_program(program);
    }

    /// Says what a server answers. What is said last holds.
    pub fn add_reply(&self, reply: Reply) {
        self.script.add_reply(reply);
    }

    /// Says which certificate a server shows. What is said last holds; without any, every server is trusted.
    pub fn add_certificate(&self, certificate: Certificate) {
        self.script.add_certificate(certificate);
    }

    /// All requests to servers since the beginning, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.script.sent()
    }

    /// How much modules did beyond writing objects: objects deleted, and requests sent that differ from all before.
    pub fn deeds(&self) -> usize {
        self.script.deeds()
    }

    /// The parents of a served module, in canonical order.
    pub fn parents(&self, name: &str) -> Vec<ObjectRef> {
        let Some(served) = self.modules.get(name) else { return Vec::new() };
        let module = served.serving.current();
        let kinds = module.manifest().kinds.iter();
        let listed = kinds.flat_map(|kind| {
            let objects = self.cluster.all(&kind.api_version, &kind.kind);
            objects.into_iter().filter_map(|object| Some(Document::from_value(&object).identity().ok()?.object_ref()))
        });
        listed.collect()
    }

    /// Reconciles one parent with the module that serves under a name; none when no such module serves.
    pub fn reconcile(&self, name: &str, parent: &ObjectRef) -> Option<Result<Outcome, Error>> {
        let served = self.modules.get(name)?;
        Some(self.runtime.block_on(reconcile(&served.context, parent)))
    }

    /// The object that people mean by kind and `name` or `namespace/name`.
    pub fn named(&self, kind: &str, name: &str) -> Result<ObjectRef, String> {
        let (api_version, namespaced) = self.cluster.kind(kind).ok_or_else(|| {
            let known = self.cluster.kind_names();
            let hint = schema::nearest(kind, known.iter().map(String::as_str));
            format!("there is no kind {kind}{}", hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default())
        })?;
        let kind = self
            .cluster
            .kind_names()
            .into_iter()
            .find(|k| k.eq_ignore_ascii_case(kind))
            .unwrap_or_else(|| kind.to_owned());
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (namespaced.then(|| "default".to_owned()), name),
        };
        Ok(ObjectRef { api_version, kind, namespace, name: name.to_owned() })
    }

    /// Stores an object as it is, status included: part of a fixture state.
    pub fn add(&self, object: Value) {
        self.cluster.put(object);
    }

    /// Applies an object as `kubectl apply --server-side` does: the status code and the server's answer.
    pub fn apply(&self, identity: &ObjectRef, object: &Value) -> (u16, Value) {
        let path = format!("{}?fieldManager=kubectl&force=true", self.path_of(identity));
        self.send(http::Method::PATCH, &path, "application/apply-patch+yaml", object)
    }

    /// The path of an object in the Kubernetes API.
    pub fn path_of(&self, identity: &ObjectRef) -> String {
        let served = operator_controller::Cache::resource(&self.cluster, &identity.api_version, &identity.kind);
        let plural = served.map(|(plural, _)| plural).unwrap_or_default();
        let root = if identity.api_version.contains('/') { "apis" } else { "api" };
        let scope = identity.namespace.as_ref().map(|n| format!("/namespaces/{n}")).unwrap_or_default();
        format!("/{root}/{}{scope}/{plural}/{}", identity.api_version, identity.name)
    }

    /// Sends a request of the Kubernetes API.
    pub fn send(&self, method: http::Method, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let Ok(request) = request.body(bytes::Bytes::from(body.to_string())) else { return (400, Value::Null) };
        let response = self.cluster.handle(&request);
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
    }
}

/// The webhooks of all modules that serve.
#[derive(Default)]
struct Webhooks(Mutex<Vec<Webhook>>);

#[derive(Clone)]
struct Webhook {
    api_version: String,
    kind: String,
    phase: Phase,
    operations: Vec<Operation>,
    status: bool,
    serving: Arc<Serving>,
    settings: Document,
}

impl Webhooks {
    fn serve(&self, manifest: &Manifest, serving: Arc<Serving>, settings: Document) {
        let mut webhooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in &manifest.webhooks {
            let kinds = manifest.kinds.iter().filter(|kind| kind.kind == rule.kind);
            webhooks.extend(kinds.map(|kind| Webhook {
                api_version: kind.api_version.clone(),
                kind: kind.kind.clone(),
                phase: rule.phase,
                operations: rule.operations.clone(),
                status: rule.status,
                serving: Arc::clone(&serving),
                settings: settings.clone(),
            }));
        }
        // The API server calls all mutating webhooks before the first validating one.
        webhooks.sort_by_key(|webhook| webhook.phase == Phase::Validate);
    }
}

impl Admission for Webhooks {
    fn admit(&self, identity: &ObjectRef, object: Option<&Value>, old: Option<&Value>) -> Result<Admitted, Refused> {
        let webhooks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let operation = match (object, old) {
            (Some(_), None) => Operation::Create,
            (None, _) => Operation::Delete,
            (Some(_), Some(_)) => Operation::Update,
        };
        let mut admitted = Admitted { object: object.cloned(), warnings: Vec::new() };
        let asked = webhooks.iter().filter(|webhook| {
            webhook.api_version == identity.api_version
                && webhook.kind == identity.kind
                && webhook.operations.contains(&operation)
        });
        for webhook in asked {
            webhook.ask(operation, identity, old, &mut admitted)?;
        }
        Ok(admitted)
    }
}

impl Webhook {
    fn ask(
        &self,
        operation: Operation,
        identity: &ObjectRef,
        old: Option<&Value>,
        admitted: &mut Admitted,
    ) -> Result<(), Refused> {
        let request = Request {
            phase: self.phase,
            operation,
            identity: identity.clone(),
            subresource: None,
            object: admitted.object.as_ref().map(Document::from_value),
            old_object: old.map(Document::from_value),
            user: User { name: "simulated-user".into(), groups: vec!["system:authenticated".into()] },
            dry_run: false,
            settings: self.settings.clone(),
        };
        let module = self.serving.current();
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        let kinds = &module.manifest().kinds;
        let kind = kinds.iter().find(|kind| kind.kind == self.kind && kind.api_version == self.api_version);
        let schema = kind.and_then(|kind| schema::of_crd(&kind.crd, version));
        let answer = pollster::block_on(module.admit(request.clone().seen(self.status)));
        let judgement = judge(&request, module.generation(), schema, answer);
        admitted.warnings.extend(judgement.warnings);
        if let Some(denial) = judgement.denied {
            let causes = denial.causes.into_iter().map(|c| (c.field, c.reason, c.message)).collect();
            return Err(Refused {
                code: denial.code,
                reason: denial.reason,
                message: denial.message,
                causes,
                about: None,
            });
        }
        admitted.object = judgement.object.or(admitted.object.take());
        Ok(())
    }
}
