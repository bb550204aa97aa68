//! The verbs that change something.

mod prepare;

use std::sync::Mutex;

use http::StatusCode;
use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{
    Admission, Refused,
    apply::{Ownership, Reach, Writing},
    garbage::Propagation,
    patches,
    refused::{another, conflict, exists, invalid, modified, not_found, refused, unversioned},
    request::Target,
    serve::{Answer, Write, lock},
    store::{Ended, Store, Stored, edit_metadata},
    types::Type,
};
use prepare::{keep_server_metadata, mistyped, untyped};

/// How often a patch is tried again when somebody else wrote in between.
const TRIES: usize = 5;

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
        keep_server_metadata(&identity, &mut object, None);
        if let (Some(map), true) = (object.as_object_mut(), self.target.kind.has_status) {
            map.remove("status");
        }
        let object = self.decoded(&identity, object);
        let mut stored = Stored::default();
        stored.ownership.update(&self.of().empty(), &object, self.of(), self.writing());
        stored.object = self.admitted(&identity, object, None)?;
        if lock(self.store).get(&identity).is_some() {
            return Err(exists(self.target, &identity));
        }
        Ok((StatusCode::CREATED, self.commit("create", &identity, None, stored)?))
    }

    pub(crate) fn replace(&self, identity: &ObjectRef, sent: &Value) -> Answer {
        let there = lock(self.store).get(identity).cloned();
        let Some(before) = there else {
            let creates = self.target.kind.is_created_by_update() && !self.target.status;
            return if creates { self.create(sent.clone()) } else { Err(not_found(identity)) };
        };
        let named = sent.pointer("/metadata/name").and_then(Value::as_str).filter(|name| !name.is_empty());
        if named.is_some_and(|name| name != identity.name) {
            return Err(refused(400, "BadRequest", "the name of the object does not match the name on the URL".into()));
        }
        let version = sent.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
        if version.is_empty() && !self.target.kind.updates_any_version() {
            return Err(unversioned(self.target, identity));
        }
        self.change("update", identity, before, sent.clone())
    }

    pub(crate) fn merge(&self, identity: &ObjectRef, patch: &Value) -> Answer {
        retried(|| {
            let before = self.existing(identity)?;
            let mut object = before.visible();
            patches::merge(&mut object, patch);
            self.change("patch", identity, before, object)
        })
    }

    /// Custom resources do not say how their lists are merged by a patch.
    pub(crate) fn merges_strategically(&self) -> bool {
        self.target.kind.schema.is_none()
    }

    pub(crate) fn merge_strategically(&self, identity: &ObjectRef, patch: &Value) -> Answer {
        retried(|| {
            let before = self.existing(identity)?;
            let mut object = before.visible();
            patches::strategic(&mut object, patch, self.of());
            self.change("patch", identity, before, object)
        })
    }

    pub(crate) fn patch(&self, identity: &ObjectRef, patch: &Value) -> Answer {
        retried(|| {
            let before = self.existing(identity)?;
            let mut object = before.visible();
            patches::json(&mut object, patch).map_err(|message| refused(422, "Invalid", message))?;
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
        if before.is_none() && self.target.status && !self.target.kind.is_created_by_update() {
            return Err(not_found(identity));
        }
        // What the server cannot type it does not apply; of built-in kinds, no table of all fields is kept here.
        if let Some(why) = self.target.kind.schema.as_ref().and_then(|schema| untyped(schema, config)) {
            return Err(refused(500, "", format!("failed to create typed patch object: {why}")));
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
        let object = if stored.object.is_null() { self.of().empty() } else { stored.object.clone() };
        let force = self.target.parameter("force") == Some("true");
        let merged = stored.ownership.apply(&object, config, self.of(), self.writing(), force);
        let mut merged = merged.map_err(|conflicts| conflict(&conflicts))?;
        let version = config.pointer("/metadata/resourceVersion");
        let there = before.as_ref().and_then(|before| before.object.pointer("/metadata/resourceVersion"));
        // Of what is not there, no version can be meant.
        if before.is_some() && version.is_some() && version != there {
            return Err(modified(identity));
        }
        let old = before.as_ref().map(|before| &before.object);
        self.keep_other_resource(&mut merged, old);
        keep_server_metadata(identity, &mut merged, old);
        // A map that loses all its entries is left as a null, which not every type takes.
        let mistyped = self.target.kind.schema.as_ref().map(|schema| mistyped(schema, &merged)).unwrap_or_default();
        if !mistyped.is_empty() {
            return Err(invalid(identity, mistyped));
        }
        stored.object = self.admitted(identity, self.reached(self.decoded(identity, merged), old), old)?;
        if let (true, None, Some(version)) = (self.dry_run, &before, version) {
            // It is shown as it was sent.
            edit_metadata(&mut stored.object, |metadata| {
                drop(metadata.insert("resourceVersion".into(), version.clone()));
            });
        }
        let code = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        Ok((code, self.commit("apply", identity, before.as_ref(), stored)?))
    }

    pub(crate) fn delete(&self, identity: &ObjectRef, options: &Value) -> Answer {
        let before = self.existing(identity)?;
        for field in ["uid", "resourceVersion"] {
            let wanted = options.pointer(&format!("/preconditions/{field}")).and_then(Value::as_str);
            let there = before.object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
            if wanted.is_some() && wanted != there {
                return Err(another(identity, field));
            }
        }
        if let (Some(admission), true) = (self.admission, self.target.kind.schema.is_some()) {
            admission.admit(identity, None, Some(&before.object))?;
        }
        let now = options.get("gracePeriodSeconds").and_then(Value::as_i64) == Some(0);
        let dry_run = self.dry_run || options.pointer("/dryRun/0").and_then(Value::as_str) == Some("All");
        let propagation = Propagation::of(options);
        let mut store = lock(self.store);
        let ended = store.ended(identity, propagation, now).ok_or_else(|| not_found(identity))?;
        if !dry_run {
            store.writes.push(self.write("delete", identity));
            store.end(identity, propagation, now);
        }
        let waited = before.object.pointer("/metadata/deletionTimestamp").is_some();
        let shown = match ended {
            Ended::Marked(stored) => {
                store.get(identity).filter(|_| !dry_run).cloned().unwrap_or_else(|| store.shaped(identity, stored))
            }
            // What waited already is shown as it waited.
            Ended::Gone(_) if waited && self.target.kind.shows_deleted() => before,
            Ended::Gone(stored) if self.target.kind.shows_deleted() => stored,
            Ended::Gone(stored) => return Ok((StatusCode::OK, self.deleted(&stored))),
        };
        Ok((StatusCode::OK, shown.visible()))
    }

    /// What a deletion answers when the object is gone.
    fn deleted(&self, stored: &Stored) -> Value {
        let of = |pointer: &str| stored.object.pointer(pointer).cloned().unwrap_or_default();
        let mut details =
            json!({"kind": self.target.kind.plural, "name": of("/metadata/name"), "uid": of("/metadata/uid")});
        if let (Some(details), Some(group)) = (details.as_object_mut(), self.target.kind.group()) {
            details.insert("group".into(), group.into());
        }
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details})
    }

    fn existing(&self, identity: &ObjectRef) -> Result<Stored, Refused> {
        lock(self.store).get(identity).cloned().ok_or_else(|| not_found(identity))
    }

    fn of(&self) -> Type<'_> {
        Type::of(&self.target.kind.api_version, &self.target.kind.kind, self.target.kind.schema.as_ref())
    }

    fn writing(&self) -> Writing<'_> {
        let kind = &self.target.kind;
        let reach = match (self.target.status, kind.has_status) {
            (false, false) => Reach::All,
            (false, true) => Reach::AllButStatus,
            (true, _) => Reach::AllButSpec(match kind.kind.as_str() {
                "Deployment" => Some("labels"),
                "Pod" => Some("ownerReferences"),
                _ => None,
            }),
        };
        Writing { manager: &self.manager, status: self.target.status, reach }
    }

    fn write(&self, verb: &'static str, identity: &ObjectRef) -> Write {
        Write { manager: self.manager.clone(), verb, identity: identity.clone(), status: self.target.status }
    }

    /// An update or a patch: whoever sent it owns what it changed.
    fn change(&self, verb: &'static str, identity: &ObjectRef, mut before: Stored, mut object: Value) -> Answer {
        for field in ["/metadata/resourceVersion", "/metadata/uid"] {
            let meant = object.pointer(field).filter(|meant| meant.as_str() != Some(""));
            if meant.is_some() && meant != before.object.pointer(field) {
                return Err(modified(identity));
            }
        }
        if let Some(claims) = object.pointer("/metadata/managedFields").filter(|_| !self.target.status) {
            let claimed = Ownership::read(claims);
            if claimed != Ownership::default() || *claims == json!([{}]) {
                before.ownership = claimed;
            }
        }
        self.keep_other_resource(&mut object, Some(&before.object));
        keep_server_metadata(identity, &mut object, Some(&before.object));
        let object = self.decoded(identity, object);
        let mut stored = before.clone();
        // Who has written down no claims so far is asked for none, until somebody applies.
        if stored.ownership != Ownership::default() {
            stored.ownership.update(&before.object, &object, self.of(), self.writing());
        }
        stored.object = self.admitted(identity, self.reached(object, Some(&before.object)), Some(&before.object))?;
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
            return Ok(store.shaped(identity, stored).visible());
        }
        store.writes.push(self.write(verb, identity));
        Ok(store.save(identity, stored).visible())
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
