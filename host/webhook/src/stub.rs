//! Modules that are closures, for tests.

use std::sync::Arc;

use operator_core::{
    BoxFuture, Cause, Desired, Document, Failure, FailureKind, Generation, Module, Request, Snapshot, Verdict,
    contract::{Budgets, CONTRACT_VERSION, Codec, Grants, Manifest, Operation, ParentKind, Phase, Scope, WebhookRule},
};
use serde_json::json;

type Admit = Box<dyn Fn(Request) -> BoxFuture<'static, Result<Verdict, FailureKind>> + Send + Sync>;
type Convert = Box<dyn Fn(String, Vec<Document>) -> Vec<Document> + Send + Sync>;

pub(crate) struct Stub {
    generation: Generation,
    manifest: Manifest,
    admit: Admit,
    convert: Option<Convert>,
}

/// A manifest with a namespaced kind of two versions, and both webhooks under `/mutate-NAME` and `/validate-NAME`.
pub(crate) fn manifest(name: &str) -> Manifest {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "x-kubernetes-preserve-unknown-fields": true, "properties": {"port": {"type": "integer"}}}}}});
    let group = format!("{name}.example.org");
    let version = |version: &str| ParentKind {
        api_version: format!("{group}/{version}"),
        kind: "Thing".into(),
        plural: "things".into(),
        scope: Scope::Namespaced,
        crd: json!({"metadata": {"name": format!("things.{group}")}, "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"}, "conversion": {"strategy": "Webhook"},
            "versions": [{"name": "v1", "schema": schema}, {"name": "v2", "schema": schema}]}}),
    };
    let rule = |phase, word: &str| WebhookRule {
        name: format!("{}{name}.example.org", word.chars().next().unwrap_or_default()),
        path: format!("/{word}-{name}"),
        kind: "Thing".into(),
        phase,
        operations: vec![Operation::Create, Operation::Update, Operation::Delete],
        status: true,
    };
    Manifest {
        name: name.into(),
        version: "1.0.0".into(),
        description: String::new(),
        contract: CONTRACT_VERSION.into(),
        codec: Codec::Json1,
        kinds: vec![version("v1"), version("v2")],
        webhooks: vec![rule(Phase::Mutate, "mutate"), rule(Phase::Validate, "validate")],
        grants: Grants::default(),
        budgets: Budgets::default(),
        now_granularity: None,
        finalizer: false,
    }
}

impl Stub {
    pub(crate) fn answering(
        manifest: Manifest,
        admit: impl Fn(Request) -> Result<Verdict, FailureKind> + Send + Sync + 'static,
    ) -> Arc<dyn Module> {
        Self::slow(manifest, move |request| Box::pin(std::future::ready(admit(request))))
    }

    pub(crate) fn accepting(manifest: Manifest) -> Arc<dyn Module> {
        Self::answering(manifest, |_| Ok(Verdict::default()))
    }

    pub(crate) fn slow(
        manifest: Manifest,
        admit: impl Fn(Request) -> BoxFuture<'static, Result<Verdict, FailureKind>> + Send + Sync + 'static,
    ) -> Arc<dyn Module> {
        Arc::new(Self { generation: generation(&manifest), manifest, admit: Box::new(admit), convert: None })
    }

    pub(crate) fn converting(
        manifest: Manifest,
        convert: impl Fn(String, Vec<Document>) -> Vec<Document> + Send + Sync + 'static,
    ) -> Arc<dyn Module> {
        let admit: Admit = Box::new(|_| Box::pin(std::future::ready(Ok(Verdict::default()))));
        Arc::new(Self { generation: generation(&manifest), manifest, admit, convert: Some(Box::new(convert)) })
    }

    fn failure(&self, function: &'static str, kind: FailureKind) -> Failure {
        Failure { module: self.generation.clone(), function, kind }
    }
}

fn generation(manifest: &Manifest) -> Generation {
    Generation {
        name: manifest.name.as_str().into(),
        version: manifest.version.as_str().into(),
        digest: "0123456789abcdef".into(),
    }
}

impl Module for Stub {
    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn reconcile(&self, _: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>> {
        Box::pin(std::future::ready(Err(self.failure("reconcile", FailureKind::NotExported))))
    }

    fn admit(&self, request: Request) -> BoxFuture<'_, Result<Verdict, Failure>> {
        let answer = (self.admit)(request);
        Box::pin(async move { answer.await.map_err(|kind| self.failure("admit", kind)) })
    }

    fn convert(&self, api_version: String, objects: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>> {
        let converted = match &self.convert {
            Some(convert) => Ok(convert(api_version, objects)),
            None => Err(self.failure("convert", FailureKind::NotExported)),
        };
        Box::pin(std::future::ready(converted))
    }

    fn validate_settings(&self, _: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>> {
        Box::pin(std::future::ready(Ok(Ok(()))))
    }
}
