//! The verbs that change something.

use std::sync::Mutex;

use http::StatusCode;
use operator_core::{ObjectRef, schema};
use serde_json::{Value, json};

use super::{
    Admission, Refused,
    apply::{Applier, Ownership},
    defaults, patches,
    refused::{conflict, invalid, modified, not_found, refused},
    request::Target,
    serve::{Answer, Write, lock},
    store::{Store, Stored, edit_metadata},
    types::Type,
    validate,
};

/// How often a patch is tried again when somebody else wrote in between.
const TRIES: usize = 5;

/// What the server keeps to itself: whoever sends it, it stays as it is.
const SERVER_METADATA: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Carries out one writing request.
pub(crate) struct Writer<'a> {
    store: &'a Mutex<Store>,
    admission: Option<&'a dyn Admission>,
    target: &'a Target,
    manager: String,
    dry_run: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(store: &'a Mutex<Store>, admission: Option<&'a dyn Admission>, target: &'a Target) -> Self {
        let manager = target.parameter("fieldManager").unwrap_or("unknown").to_owned();
        Self { store, admission, target, manager, dry_run: target.parameter("dryRun") == Some("All") }
    }

    pub(crate) fn create(&self, mut object: Value) -> Answer {
        let text = |key: &str| object.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut name, prefix) = (text("/metadata/name"), text("/metadata/generateName"));
        if name.is_empty() && !prefix.is_empty() {
            name = format!("{prefix}{}", lock(self.store).counted());
        }
        if name.is_empty() {
            return Err(refused(422, "Invalid", "metadata.name or metadata.generateName is required".into()));
        }
        let identity = self.target.identity(&name);
        if lock(self.store).get(&identity).is_some() {
            return Err(refused(409, "AlreadyExists", format!("{identity} already exists")));
        }
        keep_server_metadata(&identity, &mut object, None);
        if let (Some(map), true) = (object.as_object_mut(), self.target.kind.has_status) {
            map.remove("status");
        }
        let object = self.prepared(&identity, object, None)?;
        let mut stored = Stored::default();
        stored.ownership.update(&json!({}), &object, self.of(), &self.manager, false);
        stored.object = object;
        Ok((StatusCode::CREATED, self.commit("create", &identity, None, stored)?))
    }

    pub(crate) fn replace(&self, identity: &ObjectRef, sent: &Value) -> Answer {
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        let before = self.existing(identity)?;
        if version(sent).is_some() && version(sent) != version(&before.object) {
            return Err(modified(identity));
        }
        self.change("update", identity, before, sent.clone())
    }

    pub(crate) fn merge(&self, identity: &ObjectRef, patch: &Value) -> Answer {
        retried(|| {
            let before = self.existing(identity)?;
            let mut object = before.object.clone();
            patches::merge(&mut object, patch);
            self.change("patch", identity, before, object)
        })
    }

    pub(crate) fn patch(&self, identity: &ObjectRef, patch: &Value) -> Answer {
        retried(|| {
            let mut before = self.existing(identity)?;
            let visible = before.visible();
            let mut object = visible.clone();
            patches::json(&mut object, patch).map_err(|message| refused(422, "Invalid", message))?;
            let claims = |object: &Value| object.pointer("/metadata/managedFields").cloned();
            if let Some(claims) = claims(&object).filter(|changed| Some(changed) != claims(&visible).as_ref()) {
                before.ownership = Ownership::read(&claims);
            }
            self.change("patch", identity, before, object)
        })
    }

    pub(crate) fn apply(&self, identity: &ObjectRef, config: &Value) -> Answer {
        if self.target.parameter("fieldManager").is_none_or(str::is_empty) || self.manager.len() > 128 {
            return Err(refused(422, "Invalid", "fieldManager is required for apply and has at most 128 bytes".into()));
        }
        let named = config.pointer("/metadata/name").and_then(Value::as_str);
        if let Some(name) = named.filter(|name| *name != identity.name) {
            return Err(refused(400, "BadRequest", format!("the body names {name:?}, the URL {}", identity.name)));
        }
        if config.pointer("/metadata/managedFields").is_some() {
            return Err(refused(400, "BadRequest", "metadata.managedFields must be nil".into()));
        }
        retried(|| self.try_apply(identity, config))
    }

    fn try_apply(&self, identity: &ObjectRef, config: &Value) -> Answer {
        let before = lock(self.store).get(identity).cloned();
        if before.is_none() && self.target.status {
            return Err(not_found(identity));
        }
        let version = config.pointer("/metadata/resourceVersion");
        let there = before.as_ref().and_then(|before| before.object.pointer("/metadata/resourceVersion"));
        if version.is_some() && version != there {
            return Err(modified(identity));
        }
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        if let Some(wanted) = uid(config)
            && before.as_ref().and_then(|before| uid(&before.object)) != Some(wanted)
        {
            return Err(refused(
                409,
                "Conflict",
                format!("uid mismatch: {identity} has another uid, or does not exist"),
            ));
        }
        let mut stored = before.clone().unwrap_or_default();
        let object = if stored.object.is_null() { json!({}) } else { stored.object.clone() };
        let by = Applier {
            manager: &self.manager,
            status: self.target.status,
            force: self.target.parameter("force") == Some("true"),
        };
        let merged = stored.ownership.apply(&object, config, self.of(), by);
        let mut merged = merged.map_err(|conflicts| conflict(&conflicts))?;
        let old = before.as_ref().map(|before| &before.object);
        keep_server_metadata(identity, &mut merged, old);
        stored.object = self.prepared(identity, merged, old)?;
        stored.ownership.forget_missing(&stored.object);
        let code = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        Ok((code, self.commit("apply", identity, before.as_ref(), stored)?))
    }

    pub(crate) fn delete(&self, identity: &ObjectRef, options: &Value) -> Answer {
        let before = self.existing(identity)?;
        for field in ["uid", "resourceVersion"] {
            let wanted = options.pointer(&format!("/preconditions/{field}")).and_then(Value::as_str);
            let there = before.object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
            if wanted.is_some() && wanted != there {
                return Err(refused(409, "Conflict", format!("{identity} has another {field} than the precondition")));
            }
        }
        if let (Some(admission), true) = (self.admission, self.target.kind.schema.is_some()) {
            admission.admit(identity, None, Some(&before.object))?;
        }
        if !self.dry_run {
            let now = options.get("gracePeriodSeconds").and_then(Value::as_i64) == Some(0);
            let mut store = lock(self.store);
            store.writes.push(self.write("delete", identity));
            if now {
                store.delete_now(identity)
            } else {
                store.delete(identity)
            };
        }
        Ok((StatusCode::OK, json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})))
    }

    fn existing(&self, identity: &ObjectRef) -> Result<Stored, Refused> {
        lock(self.store).get(identity).cloned().ok_or_else(|| not_found(identity))
    }

    fn of(&self) -> Type<'_> {
        Type::of(self.target.kind.schema.as_ref())
    }

    fn write(&self, verb: &'static str, identity: &ObjectRef) -> Write {
        Write { manager: self.manager.clone(), verb, identity: identity.clone(), status: self.target.status }
    }

    /// An update or a patch: whoever sent it owns what it changed.
    fn change(&self, verb: &'static str, identity: &ObjectRef, before: Stored, mut object: Value) -> Answer {
        // Main resource and status are written apart.
        if self.target.kind.has_status {
            let (rest, status) = if self.target.status { (&before.object, &object) } else { (&object, &before.object) };
            let status = status.get("status").cloned();
            let mut mixed = rest.clone();
            if let Some(map) = mixed.as_object_mut() {
                map.remove("status");
                map.extend(status.map(|status| ("status".to_owned(), status)));
            }
            object = mixed;
        }
        keep_server_metadata(identity, &mut object, Some(&before.object));
        let object = self.prepared(identity, object, Some(&before.object))?;
        let mut stored = before.clone();
        stored.ownership.update(&before.object, &object, self.of(), &self.manager, self.target.status);
        stored.object = object;
        stored.ownership.forget_missing(&stored.object);
        Ok((StatusCode::OK, self.commit(verb, identity, Some(&before), stored)?))
    }

    /// Stores, unless somebody else wrote since `before` was read.
    fn commit(
        &self,
        verb: &'static str,
        identity: &ObjectRef,
        before: Option<&Stored>,
        stored: Stored,
    ) -> Result<Value, Refused> {
        let mut store = lock(self.store);
        let version =
            |stored: Option<&Stored>| stored.and_then(|s| s.object.pointer("/metadata/resourceVersion").cloned());
        if version(store.get(identity)) != version(before) {
            return Err(modified(identity));
        }
        if self.dry_run {
            return Ok(stored.visible());
        }
        store.writes.push(self.write(verb, identity));
        Ok(store.save(identity, stored).visible())
    }

    /// What comes between request and store: defaults and pruning, webhooks, defaults again, validation.
    fn prepared(&self, identity: &ObjectRef, mut object: Value, old: Option<&Value>) -> Result<Value, Refused> {
        let namespace_there = identity.namespace.as_ref().is_none_or(|namespace| {
            namespace == "default" || lock(self.store).get(&ObjectRef::cluster("v1", "Namespace", namespace)).is_some()
        });
        if !namespace_there {
            let namespace = identity.namespace.as_deref().unwrap_or_default();
            return Err(refused(404, "NotFound", format!("namespaces {namespace:?} not found")));
        }
        let schema = self.target.kind.schema.as_ref();
        match schema {
            None => {
                if old.is_none() {
                    defaults::on_creation(&identity.kind, &mut object);
                }
                defaults::apply(&identity.kind, &mut object);
            }
            Some(schema) => {
                schema::apply_defaults(schema, &mut object);
                schema::prune(schema, &mut object);
            }
        }
        if let (Some(admission), Some(schema), false) = (self.admission, schema, self.target.status) {
            // What is missing, a webhook may still add; what is wrong, it need not see.
            let wrong = validate::causes(identity, Some(schema), &object, old);
            let wrong: Vec<_> = wrong.into_iter().filter(|(_, reason, _)| reason != "FieldValueRequired").collect();
            if !wrong.is_empty() {
                return Err(invalid(identity, wrong));
            }
            object = admission.admit(identity, Some(&object), old)?.object.unwrap_or(object);
            schema::apply_defaults(schema, &mut object);
            schema::prune(schema, &mut object);
        }
        let mut causes = Vec::new();
        match (identity.kind.as_str(), schema, old) {
            ("Service", None, _) => {
                let others = lock(self.store).others(identity);
                causes = validate::addresses::give(&mut object, old, &others);
            }
            ("PersistentVolumeClaim", None, Some(old)) => {
                let classes = lock(self.store).objects("storage.k8s.io/v1", "StorageClass");
                validate::growth::refusal(identity, &object, old, &classes).map_or(Ok(()), Err)?;
            }
            _ => {}
        }
        causes.extend(validate::causes(identity, schema, &object, old));
        if causes.is_empty() { Ok(object) } else { Err(invalid(identity, causes)) }
    }
}

/// Tries again when somebody else wrote in between, as the server does for patches.
fn retried(attempt: impl Fn() -> Answer) -> Answer {
    for _ in 1..TRIES {
        match attempt() {
            // An apply that conflicts with another manager has causes; a race has none.
            Err(refused) if refused.code == 409 && refused.causes.is_empty() => {}
            answer => return answer,
        }
    }
    attempt()
}

/// Sets what names the object, and keeps what only the server sets.
fn keep_server_metadata(identity: &ObjectRef, object: &mut Value, old: Option<&Value>) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), identity.api_version.clone().into());
        map.insert("kind".into(), identity.kind.clone().into());
    }
    edit_metadata(object, |metadata| {
        metadata.remove("managedFields");
        for key in SERVER_METADATA {
            metadata.remove(key);
            let kept = old.and_then(|old| old.get("metadata")).and_then(|metadata| metadata.get(key));
            metadata.extend(kept.map(|kept| (key.to_owned(), kept.clone())));
        }
        metadata.insert("name".into(), identity.name.clone().into());
        metadata
            .extend(identity.namespace.as_ref().map(|namespace| ("namespace".to_owned(), namespace.clone().into())));
    });
}
