//! The SDK from a module author's side: what a module sees, what its answers become, and what happens to bad input.

use insta::assert_snapshot;
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{ConfigMap, Node, Pod},
};
use kube::{CustomResource, core::ObjectMeta};
use operator_guest::{
    Action, Cause, Child, CommandQuery, Condition, Desired, Event, Failure, HttpRequest, Manifest, Module,
    NamespaceRule, ObjectQuery, ObjectRef, Operation, Partial, PodLogQuery, QueryFailure, Readiness, Request, Sample,
    Settings, Snapshot, Strategy, Trust, Verdict, module, native, testing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.com", version = "v1", kind = "Thing", plural = "things", namespaced)]
struct ThingSpec {
    #[serde(default)]
    step: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThingSettings {
    suffix: String,
}

/// Only what matters of a Node.
#[derive(Deserialize)]
struct NodeName {
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

struct Things;

impl Module for Things {
    type Parent = Thing;

    fn manifest() -> Manifest {
        module::<Thing>("things", "1.0.0")
            .description("Shows what the SDK can say")
            .owns::<DaemonSet>(NamespaceRule::Target)
            .labels::<Node>(["example.com/*"])
            .labels::<Node>(["example.org/one"])
            .reads::<Pod>(NamespaceRule::Target, ["status.phase"])
            .webhook_validate("vthing.example.com", "/validate-example-com-v1-thing")
            .now_granularity(60)
            .finalizer()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<Thing>) -> Result<Desired, Failure> {
        match snapshot.parent.spec.step.as_str() {
            "everything" => Ok(everything()),
            "look" => look(snapshot),
            "places" => places(snapshot),
            "unwritable" => {
                Ok(Desired::new().child(&named("fine")).status(&std::collections::BTreeMap::from([((1, 2), 3)])))
            }
            "unstable" => {
                use std::sync::atomic::{AtomicUsize, Ordering};
                static CALLS: AtomicUsize = AtomicUsize::new(0);
                Ok(Desired::new().child(&named(&format!("call-{}", CALLS.fetch_add(1, Ordering::Relaxed)))))
            }
            _ => Err(Failure::Retry("nothing to do".to_owned())),
        }
    }

    fn default(thing: &mut Thing, request: &Request<Thing>) {
        if request.operation == Operation::Create {
            thing.spec.port.get_or_insert(80);
        }
    }

    fn validate(request: &Request<Thing>) -> Verdict {
        let verdict = match (&request.object, &request.old_object) {
            (Some(thing), _) if thing.spec.port == Some(0) => {
                Verdict::invalid([Cause::invalid("spec.port", "0 is no port")])
            }
            (None, Some(old)) if old.spec.step == "locked" => Verdict::forbid("unlock it first: set spec.step to open"),
            _ => Verdict::accept(),
        };
        verdict.warn("things are deprecated").audit("asked-by", &request.user.name)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<ThingSettings>().map(drop)
    }
}

/// The same kind, with nothing but a manifest.
struct Bare;

impl Module for Bare {
    type Parent = Thing;

    fn manifest() -> Manifest {
        module::<Thing>("bare", "1.0.0").build()
    }
}

fn named(name: &str) -> ConfigMap {
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), namespace: Some("ns".to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn everything() -> Desired {
    let node = || ObjectRef::named::<Node>("node-1");
    Desired::new()
        .child(&named("plain"))
        .child(Child::of(&named("late")).stage(2).strategy(Strategy::CreateOnce).readiness(Readiness::Exists))
        .partial_labels::<Node>("node-1", [("example.com/ready", "yes")])
        .partial(Partial::annotations(node(), [("example.com/note", "hi")]))
        .status(&serde_json::json!({ "phase": "Ready" }))
        .condition(Condition::true_("Ready", "AllReady", "all are ready"))
        .conditions([Condition::unknown("Known", "NotAsked", "nobody asked")])
        .event(Event::normal("Created", "Create", "it was created"))
        .event(Event::warning("Odd", "Look", "it looks odd").regarding(node()))
        .sample(Sample::gauge("things_total", 2.0).label("node", "node-1"))
        .query(ObjectQuery::of::<Pod>().in_namespace("ns").label("app", "x").fields(["status.phase"]).ask("pods"))
        .query(PodLogQuery::of("ns", "pod-1", "main", "ERROR").limit(5).ask("log").every(30))
        .query(CommandQuery::of("ns", "pod-1", "main", ["id", "-u"]).ask("id").within(3))
        .query(HttpRequest::get("https://x/health").trust(Trust::Pinned("ab".to_owned())).ask("health"))
        .action(HttpRequest::put("https://x/policy", "body").secret_header("authorization", "s", "k").act("push"))
        .action(Action::delete("stuck", ObjectRef::named::<Pod>("pod-1").in_namespace("ns"), "uid-1").within(5))
        .requeue(60)
        .requeue(30)
        .finalized()
}

fn look(snapshot: &Snapshot<Thing>) -> Result<Desired, Failure> {
    let suffix = snapshot.settings.get::<ThingSettings>()?.suffix;
    let set = snapshot.child::<DaemonSet>("set")?.map(|set| set.spec.and_then(|spec| spec.min_ready_seconds));
    let maps =
        snapshot.children_as::<ConfigMap, NodeName>()?.into_iter().map(|map| map.metadata.name).collect::<Vec<_>>();
    let nodes =
        snapshot.objects::<NodeName>("nodes").transpose().map_err(|failure| Failure::Retry(failure.to_string()))?;
    Ok(Desired::new().status(&serde_json::json!({
        "set": set, "maps": maps, "suffix": suffix, "now": snapshot.now,
        "nodes": nodes.map(|nodes| nodes.into_iter().map(|node| node.metadata.name).collect::<Vec<_>>()),
        "lines": snapshot.lines("log").and_then(Result::ok), "log": snapshot.lines("late").is_none(),
        "code": snapshot.command("id").and_then(Result::ok).map(|result| result.code),
        "http": snapshot.http("health").and_then(Result::err).map(|failure| format!("{failure:?}")),
        "deleted": snapshot.deleted("stuck").and_then(Result::ok),
        "mismatch": snapshot.deleted("log").and_then(Result::err).map(|failure| format!("{failure:?}")),
    })))
}

fn places(snapshot: &Snapshot<Thing>) -> Result<Desired, Failure> {
    let from = |namespace| -> Result<_, Failure> {
        let map = snapshot.child_in::<ConfigMap>(namespace, "map")?;
        Ok(map.and_then(|map| map.data?.get("from").cloned()))
    };
    let status = serde_json::json!({"new": from("new")?, "old": from("old")?, "other": from("other")?});
    Ok(Desired::new().status(&status))
}

fn thing(step: &str, rest: &str) -> String {
    format!(
        "parent: {{apiVersion: example.com/v1, kind: Thing, metadata: {{name: t, namespace: ns}}, spec: {{step: {step}}}}}\n\
         settings: {{suffix: x}}\n{rest}"
    )
}

#[test]
fn an_answer_with_everything_prints_as_yaml() {
    assert_snapshot!(testing::reconcile::<Things>(&thing("everything", "")).unwrap());
}

#[test]
fn a_snapshot_offers_children_answers_and_settings_typed() {
    let rest = "
now: 1700000000
children:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: ns}, data: {unknown: yes}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: ns}}
- {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: set, namespace: ns}, spec: {minReadySeconds: 7, selector: {}, template: {}, new: 1}}
answers:
  nodes: {objects: [{apiVersion: v1, kind: Node, metadata: {name: n2}}, {apiVersion: v1, kind: Node, metadata: {name: n1}}]}
  log: {lines: [first, second]}
  late: {pending: null}
  id: {command: {code: 3}}
  health: {unreachable: no route}
  stuck: {deleted: true, askedAt: 5}
";
    assert_snapshot!(testing::reconcile::<Things>(&thing("look", rest)).unwrap());
}

#[test]
fn what_a_host_tells_beside_an_answer_can_be_written_in_a_snapshot_file() {
    let rest = "answers: {late: {timedOut: null, extensions: {vendor.example/field: x}}}";
    let snapshot = testing::snapshot::<Things>(&thing("look", rest)).unwrap();
    assert_eq!(snapshot.answers[0].extensions, [("vendor.example/field".to_owned(), b"x".to_vec())]);
}

#[test]
fn of_children_with_one_name_the_namespace_tells_which_is_meant() {
    let rest = "
children:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: map, namespace: new}, data: {from: new}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: map, namespace: old}, data: {from: old}}
";
    let status: serde_json::Value = testing::reconcile::<Things>(&thing("places", rest)).unwrap().status().unwrap();
    assert_eq!(status, serde_json::json!({"new": "new", "old": "old", "other": null}));
}

#[test]
fn a_parent_that_does_not_decode_is_an_invalid_object_with_its_field_path() {
    let answer =
        testing::reconcile::<Things>(&thing("look", "").replace("step: look", "step: look, port: high")).unwrap();
    let Some(Failure::InvalidObject(causes)) = answer.failure() else { panic!("{answer}") };
    assert_eq!(causes[0].field, "spec.port");
    assert_eq!(causes[0].message, "invalid type: string \"high\", expected u16");
}

#[test]
fn a_field_that_is_missing_is_the_place() {
    let request = "object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}}";
    let denied = testing::admit::<Things>(request).unwrap().denied.unwrap();
    assert_eq!(denied.causes, [Cause::required("spec", "is missing")]);
}

#[test]
fn a_child_that_does_not_decode_is_named() {
    let rest = "children: [{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: set, namespace: ns}, spec: 3}]";
    assert_snapshot!(testing::reconcile::<Things>(&thing("look", rest)).unwrap(), @r#"
    failure:
      retry: "DaemonSet ns/set cannot be read: spec: invalid type: integer `3`, expected DaemonSetSpec"
    "#);
}

#[test]
fn half_an_answer_is_no_answer() {
    assert_snapshot!(testing::reconcile::<Things>(&thing("unwritable", "")).unwrap(), @r#"
    failure:
      retry: "the module cannot write its answer as JSON (the status: key must be a string); fix the type"
    "#);
}

#[test]
fn a_module_that_answers_differently_each_time_is_found_out() {
    let error = testing::reconcile::<Things>(&thing("unstable", "")).unwrap_err();
    assert!(matches!(error, testing::Error::Differs), "{error}");
}

#[test]
fn settings_are_judged_before_they_are_used() {
    let answer = testing::reconcile::<Things>(&thing("look", "").replace("suffix: x", "sufix: x")).unwrap();
    assert_snapshot!(answer, @r#"
    failure:
      invalidSettings:
      - "sufix: unknown field `sufix`, expected `suffix` (FieldValueForbidden)"
    "#);
}

#[test]
fn a_module_without_settings_refuses_each_by_name() {
    assert_eq!(native::validate_settings::<Bare>(b"{ }".to_vec()), Ok(()));
    let causes = native::validate_settings::<Bare>(br#"{"color":"red"}"#.to_vec()).unwrap_err();
    assert_eq!(causes, [Cause::forbidden("color", "this module has no settings; remove it")]);
}

#[test]
fn a_module_with_nothing_but_a_manifest_is_complete() {
    let answer =
        testing::reconcile::<Bare>(&thing("x", "settings: {}").replace("settings: {suffix: x}\n", "")).unwrap();
    assert!(matches!(answer.failure(), Some(Failure::Unsupported(_))), "{answer}");
    let object = "object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {}}";
    assert!(testing::admit::<Bare>(object).unwrap().allowed());
    assert!(native::convert::<Bare>("example.com/v2", Vec::new()).is_err());
}

#[test]
fn defaults_come_before_validation() {
    let judgement =
        testing::admit::<Things>("object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {}}");
    assert_snapshot!(judgement.unwrap(), @r#"
    allowed: true
    object:
      apiVersion: example.com/v1
      kind: Thing
      metadata:
        name: t
      spec:
        port: 80
        step: ""
    warnings:
    - things are deprecated
    audit:
    - asked-by=tester
    "#);
}

#[test]
fn an_unchanged_object_is_not_sent_back() {
    let request = "object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {port: 1, unknown: 2}}";
    assert_eq!(testing::admit::<Things>(request).unwrap().object, None);
}

#[test]
fn a_refusal_keeps_its_warnings() {
    let judgement = testing::admit::<Things>(
        "object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {port: 0}}",
    );
    assert_snapshot!(judgement.unwrap(), @r#"
    allowed: false
    denied: "422 Invalid: Thing \"t\" is invalid: spec.port: 0 is no port"
    causes:
    - "spec.port: 0 is no port (FieldValueInvalid)"
    warnings:
    - things are deprecated
    audit:
    - asked-by=tester
    "#);
}

#[test]
fn a_deletion_has_no_object_and_can_be_forbidden() {
    let judgement = testing::admit::<Things>(
        "oldObject: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {step: locked}}",
    );
    assert_snapshot!(judgement.unwrap(), @r#"
    allowed: false
    denied: "403 Forbidden: unlock it first: set spec.step to open"
    warnings:
    - things are deprecated
    audit:
    - asked-by=tester
    "#);
}

#[test]
fn a_stored_object_that_cannot_be_read_does_not_block_its_repair() {
    let request = "
object: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {port: 1}}
oldObject: {apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {port: high}}
phase: validate
";
    let judgement = testing::admit::<Things>(request).unwrap();
    assert!(judgement.allowed());
    assert_eq!(
        judgement.logs,
        ["warn: the stored Thing t cannot be read: spec.port: invalid type: string \"high\", expected u16"]
    );
}

#[test]
fn a_file_of_the_wrong_shape_says_where() {
    let fails = |yaml: &str| testing::reconcile::<Things>(yaml).unwrap_err().to_string();
    assert_eq!(fails(&thing("x", "childen: []")).split(',').next(), Some("childen: unknown field `childen`"));
    assert_eq!(
        fails(&thing("x", "children: [{kind: Pod}]")),
        "children[0]: is no Kubernetes object: apiVersion is missing"
    );
    assert_eq!(
        fails("parent: {apiVersion: v1, kind: Pod, metadata: {name: p}}"),
        "parent: is a Pod of v1, the module serves Thing of example.com/v1"
    );
    assert!(fails("parent: [").starts_with("not YAML"), "{}", fails("parent: ["));
}

#[test]
fn the_manifest_holds_what_the_builder_was_told() {
    let mut manifest = serde_json::to_value(Things::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
    assert_eq!(serde_json::from_slice::<Manifest>(&native::describe::<Things>()).unwrap(), Things::manifest());
}

#[test]
fn a_failed_query_is_told_apart_from_one_that_still_runs() {
    let rest = "answers: {nodes: {timedOut: null}}";
    let answer = testing::reconcile::<Things>(&thing("look", rest)).unwrap();
    assert_eq!(answer.failure(), Some(&Failure::Retry(QueryFailure::TimedOut.to_string())));
}
