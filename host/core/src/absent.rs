//! A module that is not there, in the place of one that was or should be: its parents and its requests get a sentence instead of silence.

use operator_contract::{Budgets, CONTRACT_VERSION, Codec, Grants, Manifest, ParentKind, Scope};
use serde_json::Value;

use crate::{
    BoxFuture, Cause, Desired, Document, Failure, FailureKind, Generation, Module, Request, Snapshot, Verdict,
    allowance::Allowance,
};

/// Stands in for a module that does not serve. Each call fails with [`FailureKind::NotServing`] and the reason.
#[derive(Clone, Debug)]
pub struct Absent {
    generation: Generation,
    manifest: Manifest,
    why: String,
}

impl Absent {
    /// In the place of a module that is refused: its webhooks stay, so that nothing passes unjudged meanwhile. It may do nothing.
    pub fn refused(manifest: Manifest, why: String) -> Self {
        let (name, version) = (manifest.name.as_str().into(), manifest.version.as_str().into());
        let generation = Generation { name, version, digest: "".into() };
        Self { generation, manifest: Manifest { grants: Grants::default(), ..manifest }, why }
    }

    /// In the place of a module that was removed: its webhooks go.
    pub fn removed(manifest: Manifest) -> Self {
        let name = &manifest.name;
        let why = format!(
            "nobody serves this kind, since there is no file of module {name}; put it back, or have objects that are being deleted let go \
             by finalizers.releaseAfter in the grants"
        );
        Self::refused(Manifest { webhooks: Vec::new(), ..manifest }, why)
    }

    /// In the place of a module that an administrator allows something and that has no file, such as after a restart without it.
    pub fn missing(name: &str, allowance: &Allowance) -> Self {
        let kinds = allowance.kinds.iter().map(|kind| ParentKind {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            // Nobody knows, and only webhooks and CRDs would need it.
            plural: String::new(),
            scope: Scope::Namespaced,
            crd: Value::Null,
        });
        Self::removed(Manifest {
            name: name.to_owned(),
            version: String::new(),
            description: String::new(),
            contract: CONTRACT_VERSION.to_owned(),
            codec: Codec::Json1,
            kinds: kinds.collect(),
            webhooks: Vec::new(),
            grants: Grants::default(),
            budgets: Budgets::default(),
            now_granularity: None,
            finalizer: false,
        })
    }

    fn fails<T>(&self, function: &'static str) -> BoxFuture<'_, Result<T, Failure>>
    where
        T: Send + 'static,
    {
        let kind = FailureKind::NotServing(self.why.clone());
        let failure = Failure { module: self.generation.clone(), function, kind };
        Box::pin(std::future::ready(Err(failure)))
    }
}

impl Module for Absent {
    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn reconcile(&self, _: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>> {
        self.fails("reconcile")
    }

    fn admit(&self, _: Request) -> BoxFuture<'_, Result<Verdict, Failure>> {
        self.fails("admit")
    }

    fn convert(&self, _: String, _: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>> {
        self.fails("convert")
    }

    fn validate_settings(&self, _: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>> {
        self.fails("validate-settings")
    }
}
