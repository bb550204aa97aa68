use std::collections::BTreeMap;

use operator_contract::{Grants, KindRule, NamespaceRule, PartialRule};
use serde_json::{Value, json};

use super::{ownership::is_member, *};
use crate::{Child, Metadata, Partial, Readiness, Strategy};

mod adoption;

/// Everything a plan needs, with a parent `Thing a` whose children go to namespace `sys`.
struct World {
    parent: Identity,
    grants: Grants,
    finalizer: bool,
    finalizing: bool,
    objects: Vec<Value>,
    held: Vec<Observed>,
    desired: Desired,
    known: Known,
}

fn parent_ref() -> ObjectRef {
    ObjectRef::cluster("example.org/v1", "Thing", "a")
}

fn world(children: Vec<Child>) -> World {
    let rule = |api_version: &str, kind: &str| KindRule {
        api_version: api_version.into(),
        kind: kind.into(),
        namespaces: NamespaceRule::Target,
    };
    World {
        parent: Identity {
            api_version: "example.org/v1".into(),
            kind: "Thing".into(),
            metadata: Metadata { name: "a".into(), uid: "u1".into(), ..Metadata::default() },
        },
        grants: Grants {
            children: vec![rule("v1", "ConfigMap"), rule("apps/v1", "DaemonSet")],
            partials: vec![PartialRule {
                api_version: "v1".into(),
                kind: "Node".into(),
                labels: vec!["example.org/*".into()],
                annotations: vec![],
                fields: vec!["spec.size".into()],
                namespaces: None,
            }],
            ..Grants::default()
        },
        finalizer: false,
        finalizing: false,
        objects: Vec::new(),
        held: Vec::new(),
        desired: Desired { children, ..Desired::default() },
        known: Known::default(),
    }
}

fn observed(object: &Value) -> Observed {
    let document = Document::from_value(object);
    Observed { identity: document.identity().unwrap().object_ref(), document }
}

impl World {
    fn plan(&self) -> Result<Plan, Rejection> {
        let objects: Vec<Observed> = self.objects.iter().map(observed).collect();
        let existing = objects.iter().map(|o| (o.identity.clone(), o.document.clone())).collect::<BTreeMap<_, _>>();
        let members: Vec<Observed> =
            objects.iter().filter(|o| is_member(&o.document.to_value().unwrap(), &parent_ref())).cloned().collect();
        plan(Input {
            module: "thing",
            grants: &self.grants,
            finalizer: self.finalizer,
            place: Place { parent: None, target: "sys" },
            parent: &self.parent,
            finalizing: self.finalizing,
            members: &members,
            existing: &existing,
            held: &self.held,
            desired: &self.desired,
            known: &self.known,
        })
    }

    /// Carries a plan out the way an API server would.
    fn carry_out(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let Some(document) = &step.document else { continue };
            self.objects.retain(|o| observed(o).identity != step.identity);
            self.objects.push(document.to_value().unwrap());
        }
        self.objects.retain(|o| !plan.prune.iter().any(|step| step.identity == observed(o).identity));
        if let Some(record) = plan.shrink.as_ref().or(plan.record.as_ref()) {
            let metadata = record.identity().unwrap().metadata;
            self.parent.metadata.labels = metadata.labels;
            self.parent.metadata.annotations = metadata.annotations;
            self.parent.metadata.finalizers = metadata.finalizers;
        }
    }
}

fn child(kind: &str, name: &str, body: Value) -> Child {
    let api_version = if kind == "DaemonSet" { "apps/v1" } else { "v1" };
    let mut document = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "sys"}});
    document.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    Child {
        identity: ObjectRef::namespaced(api_version, kind, "sys", name),
        document: Document::from_value(&document),
        strategy: Strategy::Apply,
        stage: 0,
        readiness: Readiness::Exists,
    }
}

fn config(name: &str, value: &str) -> Child {
    child("ConfigMap", name, json!({"data": {"k": value}}))
}

fn verbs(plan: &Plan) -> Vec<String> {
    plan.steps.iter().chain(&plan.prune).map(|s| format!("{} {}", s.verb, s.identity.name)).collect()
}

#[test]
fn a_plan_that_was_carried_out_leads_to_one_that_writes_nothing() {
    let mut world = world(vec![config("a", "1"), config("b", "2")]);
    let first = world.plan().unwrap();
    assert_eq!(verbs(&first), ["create a", "create b"]);
    assert!(first.record.is_some(), "the inventory is recorded before the first write");
    world.carry_out(&first);
    let second = world.plan().unwrap();
    assert_eq!(verbs(&second), ["unchanged a", "unchanged b"]);
    assert!(!second.writes() && second.record.is_none() && second.shrink.is_none());
}

#[test]
fn what_is_no_longer_wanted_is_pruned_last_and_leaves_the_inventory() {
    let mut world = world(vec![config("a", "1"), child("DaemonSet", "d", json!({"spec": {}}))]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    world.desired.children.pop();
    let second = world.plan().unwrap();
    assert_eq!(verbs(&second), ["unchanged a", "prune d"]);
    assert!(second.shrink.is_none(), "not before the object is gone");
    world.carry_out(&second);
    let third = world.plan().unwrap();
    let shrunk = third.shrink.clone().unwrap().identity().unwrap();
    assert_eq!(shrunk.metadata.annotations[inventory::GROUP_KINDS], "ConfigMap");
}

#[test]
fn a_member_that_is_being_deleted_is_waited_for_and_not_deleted_again() {
    let mut world = world(vec![config("a", "1")]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    world.desired.children.clear();
    for object in &mut world.objects {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    let plan = world.plan().unwrap();
    assert_eq!(verbs(&plan), ["wait a"]);
    assert!(plan.shrink.is_none() && !plan.writes(), "{plan}");
    assert!(plan.waiting().iter().any(|line| line.ends_with("being deleted")), "{:?}", plan.waiting());
}

#[test]
fn an_object_that_is_no_member_is_never_pruned() {
    let mut world = world(vec![]);
    world.objects =
        vec![json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "sys"}})];
    assert_eq!(verbs(&world.plan().unwrap()), Vec::<String>::new());
}

#[test]
fn a_member_of_a_kind_that_is_not_granted_is_never_pruned() {
    let mut world = world(vec![config("a", "1")]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    world.desired.children.clear();
    world.grants.children.clear();
    assert_eq!(verbs(&world.plan().unwrap()), Vec::<String>::new());
}

#[test]
fn what_was_made_in_a_place_that_the_parent_has_left_is_pruned_by_the_inventory() {
    let mut world = world(vec![config("a", "1")]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    // The parent's target was `old` when this one was made.
    let mut left = world.objects[0].clone();
    left["metadata"]["namespace"] = "old".into();
    world.objects.push(left);
    assert_eq!(verbs(&world.plan().unwrap()), ["unchanged a"], "nothing says that members may be there");
    world.parent.metadata.annotations.insert(inventory::NAMESPACES.into(), "old,sys".into());
    let plan = world.plan().unwrap();
    assert_eq!(verbs(&plan), ["unchanged a", "prune a"]);
    assert_eq!(plan.prune[0].identity.namespace.as_deref(), Some("old"));
    assert!(plan.shrink.is_none(), "not before the object is gone");
}

#[test]
fn an_update_names_the_object_by_uid_so_that_a_late_one_brings_nothing_back() {
    let mut world = world(vec![config("a", "1")]);
    let first = world.plan().unwrap();
    let uid = |plan: &Plan| plan.steps[0].document.as_ref().unwrap().to_value().unwrap()["metadata"]["uid"].clone();
    assert_eq!(uid(&first), Value::Null, "a new one has none");
    world.carry_out(&first);
    world.objects[0]["metadata"]["uid"] = "u7".into();
    world.objects[0]["data"]["k"] = "edited".into();
    let second = world.plan().unwrap();
    assert_eq!((second.steps[0].verb, uid(&second)), (Verb::Update, json!("u7")));
}

#[test]
fn a_field_that_is_no_longer_wanted_leads_to_an_update() {
    let mut world = world(vec![child("ConfigMap", "a", json!({"data": {"k": "1", "old": "x"}}))]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    world.desired.children = vec![config("a", "1")];
    assert_eq!(verbs(&world.plan().unwrap()), ["update a"]);
}

#[test]
fn drift_leads_to_an_update_that_names_the_field() {
    let mut world = world(vec![config("a", "1")]);
    let first = world.plan().unwrap();
    world.carry_out(&first);
    world.objects[0]["data"]["k"] = "edited".into();
    let plan = world.plan().unwrap();
    assert_eq!(plan.to_string(), "update    ConfigMap sys/a\n          data.k: edited → 1\n");
}

#[test]
fn accounts_configuration_and_roles_come_before_the_workloads_that_refer_to_them() {
    let identity = |api_version: &str, kind: &str| ObjectRef::namespaced(api_version, kind, "sys", "a");
    let rbac = "rbac.authorization.k8s.io/v1";
    let mut kinds = [
        identity("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
        identity("apps/v1", "StatefulSet"),
        identity("example.org/v1", "Other"),
        identity(rbac, "RoleBinding"),
        identity(rbac, "Role"),
        identity("v1", "ConfigMap"),
        identity("v1", "Secret"),
        identity("v1", "Service"),
        identity("v1", "ServiceAccount"),
        identity("v1", "Namespace"),
    ];
    kinds.sort_by_key(|identity| (order::rank(identity), identity.clone()));
    let kinds: Vec<&str> = kinds.iter().map(|identity| identity.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "ConfigMap",
            "Secret",
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "Other",
            "Service",
            "StatefulSet",
            "MutatingWebhookConfiguration"
        ]
    );
    let world = world(vec![child("DaemonSet", "d", json!({"spec": {}})), config("z", "1")]);
    assert_eq!(verbs(&world.plan().unwrap()), ["create z", "create d"]);
}

#[test]
fn a_later_stage_waits_until_the_earlier_one_is_ready() {
    let mut first = child("DaemonSet", "d", json!({"spec": {}}));
    first.readiness = Readiness::Status;
    let mut second = config("late", "1");
    second.stage = 1;
    let mut world = world(vec![second, first]);
    let plan = world.plan().unwrap();
    assert_eq!(verbs(&plan), ["create d", "wait late"]);
    world.carry_out(&plan);
    let plan = world.plan().unwrap();
    assert_eq!(verbs(&plan), ["unchanged d", "wait late"]);
    assert_eq!(
        plan.waiting(),
        ["DaemonSet sys/d: its controller has not reported yet", "ConfigMap sys/late: waits for an earlier stage"]
    );
    world.objects[0]["status"] = json!({"desiredNumberScheduled": 0});
    assert_eq!(verbs(&world.plan().unwrap()), ["unchanged d", "create late"]);
}

#[test]
fn create_once_and_on_delete_leave_an_existing_child_alone() {
    for strategy in [Strategy::CreateOnce, Strategy::OnDelete] {
        let mut world = world(vec![Child { strategy, ..config("a", "1") }]);
        let first = world.plan().unwrap();
        world.carry_out(&first);
        world.objects[0]["data"]["k"] = "edited".into();
        assert_eq!(verbs(&world.plan().unwrap()), ["keep a"]);
    }
}

#[test]
fn children_of_ungranted_kinds_and_namespaces_are_refused() {
    let mut secret = config("a", "1");
    secret.identity.kind = "Secret".into();
    assert_eq!(world(vec![secret]).plan().unwrap_err().reason(), "Ungranted");
    let mut elsewhere = config("a", "1");
    elsewhere.identity.namespace = Some("kube-system".into());
    let rejection = world(vec![elsewhere]).plan().unwrap_err();
    insta::assert_snapshot!(rejection, @"ConfigMap kube-system/a in kube-system is not granted; let grants.children of its manifest cover that namespace, or make it elsewhere");
}

#[test]
fn duplicate_children_are_refused() {
    assert_eq!(world(vec![config("a", "1"), config("a", "2")]).plan().unwrap_err().reason(), "DuplicateObject");
}

#[test]
fn a_document_that_names_another_object_is_refused() {
    let mut wrong = config("a", "1");
    wrong.identity.name = "b".into();
    assert_eq!(world(vec![wrong]).plan().unwrap_err().reason(), "DocumentMismatch");
}

#[test]
fn names_that_would_lead_to_another_path_are_refused_before_anything_is_sent() {
    for name in ["", "..", ".", "a/b", "a/../b", "a?x", "a%2fb", "a#b", "a b", "ä"] {
        let named = config(name, "1");
        let text = world(vec![named]).plan().unwrap_err().to_string();
        assert!(text.contains("no Kubernetes object can have"), "{name}: {text}");
        assert!(!ObjectRef::namespaced("v1", "ConfigMap", name, "a").is_addressable(), "namespace {name}");
    }
    assert!(ObjectRef::cluster("rbac.authorization.k8s.io/v1", "ClusterRole", "scone:a:b-c.d").is_addressable());
}

#[test]
fn fields_of_the_host_and_the_server_are_refused() {
    for (field, body) in
        [("ownerReferences", json!([])), ("generateName", json!("x-")), ("resourceVersion", json!("1"))]
    {
        let metadata = json!({"metadata": {"name": "a", "namespace": "sys", (field): body}});
        assert_eq!(
            world(vec![child("ConfigMap", "a", metadata)]).plan().unwrap_err().reason(),
            "ForeignField",
            "{field}"
        );
    }
}

#[test]
fn oversized_documents_are_refused() {
    let big = config("a", &"x".repeat(OBJECT_LIMIT));
    assert_eq!(world(vec![big]).plan().unwrap_err().reason(), "ObjectTooLarge");
}

fn node(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}})
}

fn label(key: &str) -> Partial {
    Partial {
        identity: ObjectRef::cluster("v1", "Node", "n1"),
        document: Document::from_value(&json!({"metadata": {"labels": {(key): "true"}}})),
    }
}

#[test]
fn a_partial_sets_granted_labels_only_and_needs_a_finalizer() {
    let mut world = world(vec![]);
    world.objects = vec![node(json!({}))];
    world.desired.partials = vec![label("example.org/ok")];
    assert_eq!(world.plan().unwrap_err().reason(), "NeedsFinalizer");
    world.finalizer = true;
    let plan = world.plan().unwrap();
    assert_eq!(plan.partials[0].verb, PartialVerb::Set);
    world.desired.partials = vec![label("kubernetes.io/hostname")];
    assert_eq!(world.plan().unwrap_err().reason(), "Ungranted");
}

#[test]
fn what_is_no_child_is_named_with_its_uid_so_that_nothing_comes_back_that_went_meanwhile() {
    let uid = |document: &Document| document.to_value().unwrap()["metadata"]["uid"].clone();
    let mut world = world(vec![child("ConfigMap", "c", json!({}))]);
    world.finalizer = true;
    let mut there = node(json!({}));
    there["metadata"]["uid"] = "n-uid".into();
    world.objects = vec![there];
    world.desired.partials = vec![label("example.org/ok")];
    let plan = world.plan().unwrap();
    assert_eq!(uid(plan.record.as_ref().unwrap()), "u1");
    assert_eq!(uid(&plan.partials[0].document), "n-uid");
    world.finalizing = true;
    world.desired.finalized = true;
    assert_eq!(uid(&world.plan().unwrap().release.unwrap()), "u1");
}

#[test]
fn a_partial_of_an_object_that_does_not_exist_creates_nothing() {
    let mut world = world(vec![]);
    world.finalizer = true;
    world.desired.partials = vec![label("example.org/ok")];
    assert!(world.plan().unwrap().partials.is_empty());
}

/// A node that has this of the module: a label, when `labelled`, and the size, which a grant names.
fn sized(size: i64, labelled: bool) -> Value {
    let mut node = node(if labelled { json!({"example.org/ok": "true"}) } else { json!({}) });
    node["spec"] = json!({"size": size, "other": 1});
    let labels = if labelled { json!({"f:labels": {"f:example.org/ok": {}}}) } else { json!({}) };
    node["metadata"]["managedFields"] = json!([{
        "manager": partial_manager("thing", &parent_ref()),
        "fieldsV1": {"f:metadata": labels, "f:spec": {"f:size": {}}}
    }]);
    node
}

#[test]
fn a_granted_field_is_set_and_no_other() {
    let mut world = world(vec![]);
    world.finalizer = true;
    world.objects = vec![node(json!({}))];
    let set = |spec: Value| Partial {
        identity: ObjectRef::cluster("v1", "Node", "n1"),
        document: Document::from_value(&json!({"spec": spec})),
    };
    world.desired.partials = vec![set(json!({"size": 5}))];
    let step = world.plan().unwrap().partials.remove(0);
    assert_eq!((step.verb, step.document.to_value().unwrap()["spec"].clone()), (PartialVerb::Set, json!({"size": 5})));
    world.objects = vec![sized(5, false)];
    assert_eq!(world.plan().unwrap().partials[0].verb, PartialVerb::Unchanged);
    world.desired.partials = vec![set(json!({"size": 5, "other": 2}))];
    assert_eq!(world.plan().unwrap_err().reason(), "Ungranted");
}

#[test]
fn a_field_that_is_no_longer_named_stays_while_labels_beside_it_go() {
    let mut world = world(vec![]);
    world.finalizer = true;
    world.held = vec![observed(&sized(5, true))];
    let step = world.plan().unwrap().partials.remove(0);
    assert_eq!(step.verb, PartialVerb::Withdraw);
    let document = step.document.to_value().unwrap();
    assert_eq!((&document["spec"], document["metadata"].get("labels")), (&json!({"size": 5}), None));
    world.held = vec![observed(&sized(5, false))];
    assert!(world.plan().unwrap().partials.is_empty(), "nothing is left to take back");
    world.desired.partials = vec![label("example.org/ok")];
    let step = world.plan().unwrap().partials.remove(0);
    assert_eq!(
        step.document.to_value().unwrap()["spec"],
        json!({"size": 5}),
        "a label that comes later takes nothing away"
    );
}

#[test]
fn a_label_that_is_no_longer_wanted_is_withdrawn_and_one_that_stands_is_left() {
    let mut world = world(vec![]);
    world.finalizer = true;
    let mut held = node(json!({"example.org/ok": "true"}));
    held["metadata"]["managedFields"] = json!([{
        "manager": partial_manager("thing", &parent_ref()),
        "fieldsV1": {"f:metadata": {"f:labels": {"f:example.org/ok": {}}}}
    }]);
    world.held = vec![observed(&held)];
    world.desired.partials = vec![label("example.org/ok")];
    assert_eq!(world.plan().unwrap().partials[0].verb, PartialVerb::Unchanged);
    world.desired.partials = vec![label("example.org/other")];
    let set = world.plan().unwrap().partials.remove(0);
    assert_eq!(set.verb, PartialVerb::Set, "it gives up one key and takes another");
    let told: Vec<_> = set.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [r#"metadata.labels["example.org/other"]: – → true"#, r#"metadata.labels["example.org/ok"]: true → –"#]
    );
    world.desired.partials.clear();
    assert_eq!(world.plan().unwrap().partials[0].verb, PartialVerb::Withdraw);
}

#[test]
fn a_parent_gets_the_finalizer_with_its_record_and_loses_it_when_the_module_is_done() {
    let mut world = world(vec![config("a", "1")]);
    world.finalizer = true;
    let first = world.plan().unwrap();
    world.carry_out(&first);
    assert_eq!(world.parent.metadata.finalizers, ["operator.scone.cloud/thing"]);
    world.finalizing = true;
    assert!(world.plan().unwrap().release.is_none(), "the module is not done yet");
    world.desired.finalized = true;
    let last = world.plan().unwrap();
    assert_eq!(verbs(&last), ["prune a"]);
    let released = last.release.unwrap().identity().unwrap();
    assert!(released.metadata.finalizers.is_empty());
}

#[test]
fn conditions_of_the_host_and_malformed_ones_are_refused() {
    for (type_, reason) in [("Stalled", "X"), ("not ok", "X"), ("Ok", "has space")] {
        let mut world = world(vec![]);
        world.desired.conditions = vec![crate::Condition {
            type_: type_.into(),
            status: crate::ConditionStatus::True,
            reason: reason.into(),
            message: String::new(),
        }];
        assert_eq!(world.plan().unwrap_err().reason(), "AnswerMalformed", "{type_} {reason}");
    }
}

#[test]
fn what_was_as_wanted_is_known_until_the_answer_or_the_object_changes() {
    let mut world = world(vec![child("ConfigMap", "c", json!({"data": {"k": "v"}}))]);
    let plan = world.plan().unwrap();
    world.carry_out(&plan);
    assert_eq!(plan.known, Known::default(), "it has to be made first");
    world.known = world.plan().unwrap().known;
    assert_ne!(world.known, Known::default());
    assert_eq!(world.plan().unwrap().steps[0].verb, Verb::Unchanged);
    let staged = Child { stage: 2, ..world.desired.children[0].clone() };
    world.desired.children = vec![staged];
    let later = world.plan().unwrap();
    assert_eq!((later.steps[0].stage, &later.known), (2, &world.known), "a stage says nothing of the child");
    let verbs = |world: &World| world.plan().unwrap().steps.iter().map(|step| step.verb).collect::<Vec<_>>();
    world.objects[0]["data"]["k"] = "other".into();
    assert_eq!(verbs(&world), [Verb::Update], "the object");
    world.objects[0]["data"]["k"] = "v".into();
    assert_eq!(verbs(&world), [Verb::Unchanged]);
    world.desired.children = vec![child("ConfigMap", "c", json!({"data": {"k": "new"}}))];
    assert_eq!(verbs(&world), [Verb::Update], "the answer");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_child()(kind in prop_oneof!["ConfigMap", "DaemonSet", "Secret"], name in "[a-d]", value in "[xy]", stage in 0_u32..3) -> Child {
            Child { stage, ..child(&kind, &name, json!({"data": {"k": value}})) }
        }
    }

    proptest! {
        #[test]
        fn every_accepted_answer_converges_and_touches_granted_kinds_only(
            before in prop::collection::vec(any_child(), 0..6),
            after in prop::collection::vec(any_child(), 0..6),
        ) {
            let mut world = world(before);
            for answer in [None, Some(after)] {
                if let Some(answer) = answer { world.desired.children = answer; }
                for round in 0..8 {
                    let remembering = world.plan().ok();
                    let known = std::mem::take(&mut world.known);
                    let plan = world.plan().ok();
                    prop_assert_eq!(&remembering, &plan, "knowing {:?}", known);
                    let Some(plan) = plan else { return Ok(()) };
                    world.known = plan.known.clone();
                    for step in plan.steps.iter().chain(&plan.prune) {
                        prop_assert!(step.identity.kind != "Secret");
                    }
                    if !plan.writes() && plan.record.is_none() && plan.shrink.is_none() { break; }
                    prop_assert!(round < 7, "no fix point: {plan}");
                    world.carry_out(&plan);
                }
            }
        }

        #[test]
        fn the_order_of_children_in_an_answer_does_not_matter(children in prop::collection::vec(any_child(), 0..6)) {
            let mut reversed = children.clone();
            reversed.reverse();
            prop_assert_eq!(world(children).plan().ok(), world(reversed).plan().ok());
        }
    }
}
