//! `scone:operator@1`: generated types, and what they are in `operator_core`.

use operator_contract::CONTRACT_VERSION;
use operator_core::{self as core, Cause, Document, Refusal};
use wasmtime::{
    AsContextMut, Store, StoreContextMut,
    component::{Component, Instance, Linker, WasmList},
};

use self::generated::{
    exports::scone::operator::{admission, reconciliation},
    scone::operator::{logger, queries, types},
};
use crate::{
    code::{Export, Signature},
    logger::Level,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/v1",
        world: "operator",
        // Parameters borrow: a snapshot's documents are copied once, from the cache into the module.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The one import, without its version.
pub(crate) const LOGGER: &str = "scone:operator/logger";
/// The interfaces, without their versions, in the order in which they are checked.
pub(crate) const LIFECYCLE: &str = "scone:operator/lifecycle";
pub(crate) const RECONCILIATION: &str = "scone:operator/reconciliation";
pub(crate) const ADMISSION: &str = "scone:operator/admission";
const CONVERSION: &str = "scone:operator/conversion";

/// What a call of the module gives: none when it does not export the function.
pub(crate) type Reply<T> = wasmtime::Result<Option<Result<T, Refusal>>>;

/// Gives `write` under the exact name that the component imports, so that no other version of it can shadow this one.
pub(crate) fn add_logger<T: 'static>(
    linker: &mut Linker<T>,
    import: &str,
    write: impl Fn(&mut T, Level, &[u8]) + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    linker.instance(import)?.func_wrap(
        "write",
        move |mut store: StoreContextMut<'_, T>, (level, line): (logger::Level, WasmList<u8>)| {
            // Copied, because the line lies in the store that `write` gets to change; its length is checked first.
            let bytes = line.as_le_slice(&store);
            let bytes = bytes.get(..bytes.len().min(LINE_LIMIT)).unwrap_or_default().to_vec();
            write(store.data_mut(), level.into(), &bytes);
            Ok(())
        },
    )
}

/// Longest line that is copied out of a module, in bytes; the budget for all lines is smaller or about as large.
const LINE_LIMIT: usize = 64 * 1024;

/// The functions of the contract.
struct Describe;
struct ValidateSettings;
struct Reconcile;
struct Admit;
struct Convert;

impl Signature for Describe {
    type Params<'a> = ();
    type Return = (Vec<u8>,);
}

impl Signature for ValidateSettings {
    type Params<'a> = (&'a [u8],);
    type Return = (Result<(), Vec<types::Cause>>,);
}

impl Signature for Reconcile {
    type Params<'a> = (reconciliation::Snapshot<'a>,);
    type Return = (Result<reconciliation::Desired, types::Failure>,);
}

impl Signature for Admit {
    type Params<'a> = (admission::Request<'a>,);
    type Return = (Result<admission::Verdict, types::Failure>,);
}

impl Signature for Convert {
    type Params<'a> = (&'a str, &'a [&'a [u8]]);
    type Return = (Result<Vec<Vec<u8>>, types::Failure>,);
}

/// Where the component's functions are. Looked up once for each loaded module.
pub(crate) struct Exports {
    describe: Option<Export<Describe>>,
    validate_settings: Option<Export<ValidateSettings>>,
    reconcile: Option<Export<Reconcile>>,
    admit: Option<Export<Admit>>,
    convert: Option<Export<Convert>>,
}

impl Exports {
    /// Whatever the component exports of this contract.
    pub(crate) fn of(component: &Component) -> Self {
        Self {
            describe: export(component, LIFECYCLE, "describe"),
            validate_settings: export(component, LIFECYCLE, "validate-settings"),
            reconcile: export(component, RECONCILIATION, "reconcile"),
            admit: export(component, ADMISSION, "admit"),
            convert: export(component, CONVERSION, "convert"),
        }
    }

    /// Whether the component exports this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        match interface {
            LIFECYCLE => self.describe.is_some() && self.validate_settings.is_some(),
            RECONCILIATION => self.reconcile.is_some(),
            ADMISSION => self.admit.is_some(),
            CONVERSION => self.convert.is_some(),
            _ => false,
        }
    }

    /// Compares the types of all exported functions with the contract; the error says in which interface they differ.
    pub(crate) fn check<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<(), (&'static str, wasmtime::Error)> {
        fn one<S: Signature, T>(
            export: Option<&Export<S>>,
            interface: &'static str,
            store: &mut Store<T>,
            instance: &Instance,
        ) -> Result<(), (&'static str, wasmtime::Error)> {
            let Some(export) = export else { return Ok(()) };
            export.of(store, instance).map(drop).map_err(|error| (interface, error))
        }
        one(self.describe.as_ref(), LIFECYCLE, store, instance)?;
        one(self.validate_settings.as_ref(), LIFECYCLE, store, instance)?;
        one(self.reconcile.as_ref(), RECONCILIATION, store, instance)?;
        one(self.admit.as_ref(), ADMISSION, store, instance)?;
        one(self.convert.as_ref(), CONVERSION, store, instance)
    }

    /// Calls `describe`.
    pub(crate) fn describe(&self, mut store: impl AsContextMut, instance: &Instance) -> Reply<Vec<u8>> {
        let Some(export) = &self.describe else { return Ok(None) };
        let (described,) = export.of(&mut store, instance)?.call(store, ())?;
        Ok(Some(Ok(described)))
    }

    /// Calls `validate-settings`.
    pub(crate) fn validate_settings(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        settings: &Document,
    ) -> Reply<Result<(), Vec<Cause>>> {
        let Some(export) = &self.validate_settings else { return Ok(None) };
        let (judged,) = export.of(&mut store, instance)?.call(store, (settings.bytes(),))?;
        Ok(Some(Ok(judged.map_err(all))))
    }

    /// Calls `reconcile`.
    pub(crate) fn reconcile(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        snapshot: &core::Snapshot,
    ) -> Reply<core::Desired> {
        let Some(export) = &self.reconcile else { return Ok(None) };
        let children: Vec<_> = snapshot.children.iter().map(observed).collect();
        let lists: Vec<_> = snapshot.answers.iter().map(Lists::of).collect();
        let answers: Vec<_> = snapshot.answers.iter().zip(&lists).map(|(a, lists)| answer(a, lists)).collect();
        let api_versions: Vec<&str> = snapshot.api_versions.iter().map(String::as_str).collect();
        let snapshot = reconciliation::Snapshot {
            parent: snapshot.parent.bytes(),
            children: &children,
            answers: &answers,
            settings: snapshot.settings.bytes(),
            finalizing: snapshot.finalizing,
            api_versions: &api_versions,
            now: snapshot.now,
            extensions: &[],
        };
        let (reply,) = export.of(&mut store, instance)?.call(store, (snapshot,))?;
        Ok(Some(reply.map(Into::into).map_err(Into::into)))
    }

    /// Calls `admit`.
    pub(crate) fn admit(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        request: &core::Request,
    ) -> Reply<core::Verdict> {
        let Some(export) = &self.admit else { return Ok(None) };
        let groups: Vec<&str> = request.user.groups.iter().map(String::as_str).collect();
        let request = admission::Request {
            phase: phase(request.phase),
            operation: operation(request.operation),
            identity: object_ref(&request.identity),
            subresource: request.subresource.as_deref(),
            object: request.object.as_ref().map(Document::bytes),
            old_object: request.old_object.as_ref().map(Document::bytes),
            user: admission::User { name: &request.user.name, groups: &groups },
            dry_run: request.dry_run,
            settings: request.settings.bytes(),
            extensions: &[],
        };
        let (reply,) = export.of(&mut store, instance)?.call(store, (request,))?;
        Ok(Some(reply.map(Into::into).map_err(Into::into)))
    }

    /// Calls `convert`.
    pub(crate) fn convert(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        api_version: &str,
        objects: &[Document],
    ) -> Reply<Vec<Document>> {
        let Some(export) = &self.convert else { return Ok(None) };
        let objects: Vec<&[u8]> = objects.iter().map(Document::bytes).collect();
        let (reply,) = export.of(&mut store, instance)?.call(store, (api_version, objects.as_slice()))?;
        Ok(Some(reply.map(|objects| objects.into_iter().map(Document::new).collect()).map_err(Into::into)))
    }
}

/// A function of an interface of this contract. A component may have it under any compatible version.
fn export<S: Signature>(component: &Component, interface: &str, function: &str) -> Option<Export<S>> {
    let interface = component.get_export_index(None, &*format!("{interface}@{CONTRACT_VERSION}"))?;
    component.get_export_index(Some(&interface), function).map(Export::new)
}

// What modules get: borrowed from the host's values.

fn object_ref(object: &core::ObjectRef) -> types::ObjectRefParam<'_> {
    types::ObjectRefParam {
        api_version: &object.api_version,
        kind: &object.kind,
        namespace: object.namespace.as_deref(),
        name: &object.name,
    }
}

fn observed(object: &core::Observed) -> types::Observed<'_> {
    types::Observed { identity: object_ref(&object.identity), document: object.document.bytes() }
}

/// The lists inside one answer, which the generated types can only borrow.
#[derive(Default)]
struct Lists<'a> {
    objects: Vec<types::Observed<'a>>,
    lines: Vec<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    extensions: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Lists<'a> {
    fn of(answer: &'a core::Answer) -> Self {
        let extensions = answer.extensions.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let mut lists = Self { extensions, ..Self::default() };
        match &answer.outcome {
            Ok(core::Finding::Objects(objects)) => lists.objects = objects.iter().map(observed).collect(),
            Ok(core::Finding::Lines(lines)) => lists.lines = lines.iter().map(String::as_str).collect(),
            Ok(core::Finding::Http(response)) => {
                lists.headers = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            }
            Ok(core::Finding::Command(_) | core::Finding::Deleted(_)) | Err(_) => {}
        }
        lists
    }
}

fn answer<'a>(answer: &'a core::Answer, lists: &'a Lists<'a>) -> queries::Answer<'a> {
    let outcome = match &answer.outcome {
        Ok(finding) => Ok(match finding {
            core::Finding::Objects(_) => queries::Finding::Objects(&lists.objects),
            core::Finding::Lines(_) => queries::Finding::Lines(&lists.lines),
            core::Finding::Command(result) => queries::Finding::Command(queries::CommandResult {
                code: result.code,
                stdout: &result.stdout,
                stderr: &result.stderr,
            }),
            core::Finding::Http(response) => queries::Finding::Http(queries::HttpResponse {
                status: response.status,
                headers: &lists.headers,
                body: &response.body,
            }),
            core::Finding::Deleted(there_was_something) => queries::Finding::Deleted(*there_was_something),
        }),
        Err(failure) => Err(match failure {
            core::QueryFailure::Pending => queries::QueryFailure::Pending,
            core::QueryFailure::Denied(text) => queries::QueryFailure::Denied(text),
            core::QueryFailure::NotFound(text) => queries::QueryFailure::NotFound(text),
            core::QueryFailure::TimedOut => queries::QueryFailure::TimedOut,
            core::QueryFailure::Unreachable(text) => queries::QueryFailure::Unreachable(text),
            core::QueryFailure::Failed(text) => queries::QueryFailure::Failed(text),
        }),
    };
    queries::Answer { id: &answer.id, outcome, asked_at: answer.asked_at, extensions: &lists.extensions }
}

fn phase(phase: operator_contract::Phase) -> admission::Phase {
    match phase {
        operator_contract::Phase::Mutate => admission::Phase::Mutate,
        operator_contract::Phase::Validate => admission::Phase::Validate,
    }
}

fn operation(operation: operator_contract::Operation) -> admission::Operation {
    match operation {
        operator_contract::Operation::Create => admission::Operation::Create,
        operator_contract::Operation::Update => admission::Operation::Update,
        operator_contract::Operation::Delete => admission::Operation::Delete,
        operator_contract::Operation::Connect => admission::Operation::Connect,
    }
}

// What modules answer: moved, never copied.

fn all<T: Into<U>, U>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(Into::into).collect()
}

impl From<logger::Level> for Level {
    fn from(level: logger::Level) -> Self {
        match level {
            logger::Level::Debug => Self::Debug,
            logger::Level::Info => Self::Info,
            logger::Level::Warn => Self::Warn,
            logger::Level::Error => Self::Error,
        }
    }
}

impl From<types::ObjectRefResult> for core::ObjectRef {
    fn from(object: types::ObjectRefResult) -> Self {
        Self { api_version: object.api_version, kind: object.kind, namespace: object.namespace, name: object.name }
    }
}

impl From<types::Cause> for Cause {
    fn from(cause: types::Cause) -> Self {
        Self { field: cause.field, reason: cause.reason, message: cause.message }
    }
}

impl From<types::Failure> for Refusal {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::InvalidObject(causes) => Self::InvalidObject(all(causes)),
            types::Failure::InvalidSettings(causes) => Self::InvalidSettings(all(causes)),
            types::Failure::Retry(text) => Self::Retry(text),
            types::Failure::Unsupported(text) => Self::Unsupported(text),
        }
    }
}

impl From<types::Condition> for core::Condition {
    fn from(condition: types::Condition) -> Self {
        let status = match condition.status {
            types::ConditionStatus::True => core::ConditionStatus::True,
            types::ConditionStatus::False => core::ConditionStatus::False,
            types::ConditionStatus::Unknown => core::ConditionStatus::Unknown,
        };
        Self { type_: condition.type_, status, reason: condition.reason, message: condition.message }
    }
}

impl From<types::Event> for core::Event {
    fn from(event: types::Event) -> Self {
        let type_ = match event.type_ {
            types::EventType::Normal => core::EventType::Normal,
            types::EventType::Warning => core::EventType::Warning,
        };
        Self {
            type_,
            reason: event.reason,
            action: event.action,
            message: event.message,
            regarding: event.regarding.map(Into::into),
        }
    }
}

impl From<types::Sample> for core::Sample {
    fn from(sample: types::Sample) -> Self {
        Self { name: sample.name, labels: sample.labels, value: sample.value }
    }
}

impl From<queries::SecretKey> for core::SecretKey {
    fn from(key: queries::SecretKey) -> Self {
        Self { name: key.name, key: key.key }
    }
}

impl From<queries::HttpRequest> for core::HttpRequest {
    fn from(request: queries::HttpRequest) -> Self {
        let header = |value| match value {
            queries::HeaderValue::Plain(text) => core::HeaderValue::Plain(text),
            queries::HeaderValue::Secret(key) => core::HeaderValue::Secret(key.into()),
        };
        let trust = match request.trust {
            queries::Trust::System => core::Trust::System,
            queries::Trust::Ca(key) => core::Trust::Ca(key.into()),
            queries::Trust::Pinned(digest) => core::Trust::Pinned(digest),
        };
        Self {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|(name, value)| (name, header(value))).collect(),
            body: request.body,
            trust,
        }
    }
}

impl From<queries::Query> for core::Query {
    fn from(query: queries::Query) -> Self {
        let question = match query.question {
            queries::Question::Objects(q) => core::Question::Objects(core::ObjectQuery {
                api_version: q.api_version,
                kind: q.kind,
                namespace: q.namespace,
                name: q.name,
                labels: q.labels,
                fields: q.fields,
            }),
            queries::Question::PodLog(q) => core::Question::PodLog(core::PodLogQuery {
                namespace: q.namespace,
                pod: q.pod,
                container: q.container,
                contains: q.contains,
                limit: q.limit,
            }),
            queries::Question::Command(q) => core::Question::Command(core::CommandQuery {
                namespace: q.namespace,
                pod: q.pod,
                container: q.container,
                command: q.command,
            }),
            queries::Question::Http(request) => core::Question::Http(request.into()),
        };
        let (interval, timeout) = (query.interval, query.timeout);
        Self { id: query.id, question, interval, timeout, extensions: query.extensions }
    }
}

impl From<reconciliation::Child> for core::Child {
    fn from(child: reconciliation::Child) -> Self {
        let strategy = match child.strategy {
            reconciliation::Strategy::Apply => core::Strategy::Apply,
            reconciliation::Strategy::RecreateOnImmutable => core::Strategy::RecreateOnImmutable,
            reconciliation::Strategy::CreateOnce => core::Strategy::CreateOnce,
            reconciliation::Strategy::OnDelete => core::Strategy::OnDelete,
        };
        let readiness = match child.readiness {
            reconciliation::Readiness::Exists => core::Readiness::Exists,
            reconciliation::Readiness::Status => core::Readiness::Status,
            reconciliation::Readiness::Condition => core::Readiness::Condition,
        };
        let document = Document::new(child.document);
        Self { identity: child.identity.into(), document, strategy, stage: child.stage, readiness }
    }
}

impl From<reconciliation::Partial> for core::Partial {
    fn from(partial: reconciliation::Partial) -> Self {
        Self { identity: partial.identity.into(), document: Document::new(partial.document) }
    }
}

impl From<reconciliation::Action> for core::Action {
    fn from(action: reconciliation::Action) -> Self {
        let deed = match action.deed {
            reconciliation::Deed::Delete(deletion) => {
                core::Deed::Delete { identity: deletion.identity.into(), uid: deletion.uid }
            }
            reconciliation::Deed::Http(request) => core::Deed::Http(request.into()),
        };
        Self { id: action.id, deed, timeout: action.timeout }
    }
}

impl From<reconciliation::Desired> for core::Desired {
    fn from(desired: reconciliation::Desired) -> Self {
        Self {
            children: all(desired.children),
            partials: all(desired.partials),
            status: desired.status.map(Document::new),
            conditions: all(desired.conditions),
            events: all(desired.events),
            samples: all(desired.samples),
            queries: all(desired.queries),
            actions: all(desired.actions),
            requeue: desired.requeue,
            finalized: desired.finalized,
        }
    }
}

impl From<admission::Verdict> for core::Verdict {
    fn from(verdict: admission::Verdict) -> Self {
        let denied = verdict.denied.map(|denial| core::Denial {
            code: denial.code,
            reason: denial.reason,
            message: denial.message,
            causes: all(denial.causes),
        });
        Self {
            denied,
            object: verdict.object.map(Document::new),
            before: verdict.before.map(Document::new),
            warnings: verdict.warnings,
            audit: verdict.audit,
        }
    }
}
