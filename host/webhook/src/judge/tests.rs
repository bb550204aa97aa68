//! Requests through the whole router, without sockets.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use operator_core::{Cause, Refusal, Verdict};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::stub::{Stub, manifest};

/// Remembers what it heard.
#[derive(Default)]
pub(crate) struct Ears(Mutex<Vec<(String, &'static str)>>);

impl Witness for Ears {
    fn answered(&self, path: &str, outcome: &'static str, _: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), outcome));
    }

    fn reachable(&self, _: bool) {}
    fn announce(&self, _: &'static str, _: String) {}

    fn certificate(&self, _: i64) {}
}

struct Stage {
    judge: Judge,
    bindings: Arc<Bindings>,
    ears: Arc<Ears>,
}

fn stage_with(module: Arc<dyn operator_core::Module>, limits: Limits) -> Stage {
    let bindings = Arc::new(Bindings::default());
    bindings.serve(module, Document::new(&b"{\"x\":1}"[..])).unwrap();
    let ears = Arc::new(Ears::default());
    let judge = Judge::new(Arc::clone(&bindings), limits, "own", Arc::clone(&ears) as Arc<dyn Witness>);
    Stage { judge, bindings, ears }
}

fn stage(admit: impl Fn(operator_core::Request) -> Result<Verdict, FailureKind> + Send + Sync + 'static) -> Stage {
    stage_with(Stub::answering(manifest("m"), admit), Limits::default())
}

fn review(operation: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "m.example.org", "version": "v1", "kind": "Thing"},
        "name": "a", "namespace": "n", "operation": operation, "userInfo": {"username": "jane"},
        "object": object, "oldObject": old}})
}

fn thing() -> Value {
    json!({"apiVersion": "m.example.org/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"new": {"newer": [1]}}})
}

impl Stage {
    async fn send(&self, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let request = Request::post(path).body(Full::new(body.into())).unwrap();
        let response = self.judge.answer(request).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        (code, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
    }

    async fn ask(&self, path: &str, review: &Value) -> Value {
        let (code, answer) = self.send(path, review.to_string()).await;
        assert_eq!(code, 200, "{answer}");
        answer["response"].clone()
    }

    fn heard(&self) -> Vec<(String, &'static str)> {
        self.ears.0.lock().unwrap().clone()
    }
}

fn patch_of(response: &Value) -> Value {
    let bytes = STANDARD.decode(response["patch"].as_str().unwrap_or_default()).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A verdict that sets one field of the object as the module read it.
fn defaulting(request: &operator_core::Request, pointer: &str, value: Value) -> Verdict {
    let mut object = request.object.as_ref().unwrap().to_value().unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().insert(key.to_owned(), value);
    Verdict { object: Some(Document::from_value(&object)), ..Verdict::default() }
}

#[tokio::test]
async fn a_default_becomes_a_patch_that_leaves_everything_else_alone() {
    let stage = stage(|request| Ok(defaulting(&request, "/spec/port", json!(80))));
    let response = stage.ask("/mutate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!(
        (&response["uid"], &response["allowed"], &response["patchType"]),
        (&json!("u-1"), &json!(true), &json!("JSONPatch"))
    );
    assert_eq!(patch_of(&response), json!([{"op": "add", "path": "/spec/port", "value": 80}]));
    assert_eq!(stage.heard(), [("/mutate-m".to_owned(), "patched")]);
}

#[tokio::test]
async fn labels_are_added_with_their_parent_where_there_are_none() {
    let stage = stage(|request| Ok(defaulting(&request, "/metadata/labels", json!({"k": "v"}))));
    let response = stage.ask("/mutate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!(patch_of(&response), json!([{"op": "add", "path": "/metadata/labels", "value": {"k": "v"}}]));
}

#[tokio::test]
async fn a_second_call_with_the_patched_object_has_no_patch() {
    let stage = stage(|request| Ok(defaulting(&request, "/spec/port", json!(80))));
    let mut patched = thing();
    patched["spec"]["port"] = 80.into();
    let response = stage.ask("/mutate-m", &review("CREATE", &patched, &Value::Null)).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
}

#[tokio::test]
async fn a_refusal_is_shown_with_code_reason_fields_and_warnings() {
    let stage = stage(|_| {
        let cause = Cause { field: "spec.port".into(), reason: "FieldValueInvalid".into(), message: "no port".into() };
        let denied = Denial { code: 422, reason: "Invalid".into(), message: "because".into(), causes: vec![cause] };
        Ok(Verdict {
            denied: Some(denied),
            warnings: vec!["mind".into()],
            audit: vec![("k".into(), "v".into())],
            ..Verdict::default()
        })
    });
    let response = stage.ask("/validate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(422)));
    assert_eq!(response["status"]["details"]["causes"][0]["field"], "spec.port");
    assert_eq!((&response["warnings"], &response["auditAnnotations"]), (&json!(["mind"]), &json!({"k": "v"})));
    assert_eq!(stage.heard()[0].1, "denied");
}

#[tokio::test]
async fn a_patch_for_a_deletion_is_a_refusal_in_the_modules_name() {
    let object = thing();
    let stage = stage(move |_| Ok(Verdict { object: Some(Document::from_value(&object)), ..Verdict::default() }));
    let response = stage.ask("/mutate-m", &review("DELETE", &Value::Null, &thing())).await;
    assert_eq!(
        (&response["allowed"], &response["status"]["code"], response.get("patch")),
        (&json!(false), &json!(403), None)
    );
    assert!(response["status"]["message"].as_str().unwrap().contains("module m 1.0.0"));
}

#[tokio::test]
async fn a_patch_in_the_validating_phase_is_a_refusal_in_the_modules_name() {
    let stage = stage(|request| Ok(defaulting(&request, "/spec/port", json!(80))));
    let response = stage.ask("/validate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!((&response["status"]["reason"], response.get("patch")), (&json!("ModuleAnswerInvalid"), None));
}

#[tokio::test]
async fn a_patch_that_breaks_the_schema_is_a_refusal_in_the_modules_name() {
    let stage = stage(|request| Ok(defaulting(&request, "/spec/port", json!("http"))));
    let response = stage.ask("/mutate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!(response["status"]["details"]["causes"][0]["field"], "spec.port");
    assert!(response["status"]["message"].as_str().unwrap().contains("module m 1.0.0"));
}

#[tokio::test]
async fn a_module_that_traps_refuses_what_it_guards() {
    let stage = stage(|_| Err(FailureKind::Trap { what: "unreachable".into(), frames: Vec::new() }));
    let response = stage.ask("/validate-m", &review("UPDATE", &thing(), &thing())).await;
    assert_eq!((&response["allowed"], &response["status"]["reason"]), (&json!(false), &json!("ModuleTrapped")));
    assert_eq!(stage.heard()[0].1, "failed");
}

#[tokio::test]
async fn an_object_that_the_module_cannot_read_is_the_users_to_correct() {
    let stage = stage(|_| {
        let cause = Cause { field: "spec".into(), reason: "FieldValueInvalid".into(), message: "no".into() };
        Err(FailureKind::Refused(Refusal::InvalidObject(vec![cause])))
    });
    let response = stage.ask("/validate-m", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!((&response["status"]["code"], &response["status"]["reason"]), (&json!(422), &json!("InvalidObject")));
}

#[tokio::test(start_paused = true)]
async fn a_module_that_does_not_answer_refuses_before_the_api_server_gives_up() {
    let silent = Stub::slow(manifest("m"), |_| Box::pin(std::future::pending()));
    let stage = stage_with(silent, Limits::default());
    let started = Instant::now();
    let response = stage.ask("/validate-m?timeout=3s", &review("CREATE", &thing(), &Value::Null)).await;
    assert_eq!((started.elapsed().as_secs(), &response["status"]["reason"]), (2, &json!("ModuleTimedOut")));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_permit_in_time_is_told_that_the_host_is_busy() {
    let silent = Stub::slow(manifest("m"), |_| Box::pin(std::future::pending()));
    let stage = stage_with(silent, Limits { at_once: 1, ..Limits::default() });
    let body = review("CREATE", &thing(), &Value::Null);
    let (first, second) = tokio::join!(stage.ask("/validate-m", &body), stage.ask("/validate-m?timeout=5s", &body));
    assert_eq!(
        (&first["status"]["reason"], &second["status"]["reason"]),
        (&json!("ModuleTimedOut"), &json!("HostBusy"))
    );
}

/// A module waits for its own turn only, and is not to blame for that.
#[tokio::test(start_paused = true)]
async fn what_waited_longer_than_it_ran_is_busy_and_no_time_out_of_the_module() {
    let silent = Stub::slow(manifest("m"), |_| Box::pin(std::future::pending()));
    let stage = stage_with(silent, Limits { at_once: 2, ..Limits::default() });
    let body = review("CREATE", &thing(), &Value::Null);
    let (first, second) =
        tokio::join!(stage.ask("/validate-m?timeout=3s", &body), stage.ask("/validate-m?timeout=4s", &body));
    assert_eq!((&first["status"]["reason"], &first["status"]["code"]), (&json!("ModuleTimedOut"), &json!(403)));
    assert_eq!((&second["status"]["reason"], &second["status"]["code"]), (&json!("HostBusy"), &json!(503)));
}

#[tokio::test(start_paused = true)]
async fn a_module_that_does_not_answer_holds_up_no_other() {
    let silent = Stub::slow(manifest("m"), |_| Box::pin(std::future::pending()));
    let stage = stage_with(silent, Limits { at_once: 2, ..Limits::default() });
    stage.bindings.serve(Stub::accepting(manifest("n")), Document::new(&b"{}"[..])).unwrap();
    let body = review("CREATE", &thing(), &Value::Null);
    let mut of_other = body.clone();
    of_other["request"]["kind"]["group"] = "n.example.org".into();
    let stuck = async { tokio::join!(stage.ask("/validate-m", &body), stage.ask("/validate-m", &body)) };
    let other = async {
        tokio::task::yield_now().await;
        let started = Instant::now();
        (stage.ask("/validate-n", &of_other).await, started.elapsed())
    };
    let (_, (answer, took)) = tokio::join!(stuck, other);
    assert_eq!((&answer["allowed"], took), (&json!(true), Duration::ZERO));
}

#[tokio::test]
async fn the_module_sees_what_was_sent() {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let stage = stage(move |request| {
        *keep.lock().unwrap() = Some(request);
        Ok(Verdict::default())
    });
    stage.ask("/validate-m", &review("UPDATE", &thing(), &json!({"old": 1}))).await;
    let request = seen.lock().unwrap().take().unwrap();
    assert_eq!((request.phase, request.operation), (Phase::Validate, Operation::Update));
    assert_eq!((request.user.name.as_str(), request.settings.bytes()), ("jane", &b"{\"x\":1}"[..]));
    assert_eq!(request.old_object.unwrap().bytes(), b"{\"old\":1}");
}

#[tokio::test]
async fn what_is_in_kube_system_is_let_through_without_asking() {
    let stage = stage(|_| Err(FailureKind::NotExported));
    let mut review = review("CREATE", &thing(), &Value::Null);
    review["request"]["namespace"] = "kube-system".into();
    assert_eq!(stage.ask("/validate-m", &review).await["allowed"], true);
}

#[tokio::test]
async fn an_operation_that_the_module_does_not_want_is_let_through_and_an_unknown_one_is_refused() {
    let stage = stage(|_| Err(FailureKind::NotExported));
    let connect = stage.ask("/validate-m", &review("CONNECT", &json!({"kind": "PodExecOptions"}), &Value::Null)).await;
    assert_eq!(connect["allowed"], true);
    let odd = stage.ask("/validate-m", &review("PONDER", &thing(), &Value::Null)).await;
    assert_eq!((&odd["allowed"], &odd["status"]["code"]), (&json!(false), &json!(400)));
}

#[tokio::test]
async fn another_kind_than_the_one_that_is_guarded_is_refused() {
    let stage = stage(|_| Ok(Verdict::default()));
    let mut review = review("CREATE", &thing(), &Value::Null);
    review["request"]["kind"]["kind"] = "Other".into();
    assert_eq!(stage.ask("/validate-m", &review).await["status"]["code"], 400);
}

#[tokio::test]
async fn a_path_that_may_be_a_modules_that_cannot_be_read_is_refused_with_the_reason() {
    let stage = stage(|_| Ok(Verdict::default()));
    stage.bindings.keep("gone", "it is no WebAssembly");
    let response = stage.ask("/validate-gone", &review("CREATE", &thing(), &Value::Null)).await;
    let status = &response["status"];
    assert_eq!((&response["allowed"], &status["code"]), (&json!(false), &json!(403)));
    assert_eq!(status["message"], "module gone is refused: it is no WebAssembly");
    stage.bindings.remove("gone");
    assert_eq!(stage.send("/validate-gone", "").await.0, 404);
}

#[tokio::test]
async fn unknown_paths_other_methods_and_large_bodies_get_their_codes() {
    let limits = Limits { admission_bytes: 1000, ..Limits::default() };
    let stage = stage_with(Stub::accepting(manifest("m")), limits);
    assert_eq!(stage.send("/elsewhere", "").await.0, 404);
    assert_eq!(stage.send("/validate-m", vec![b' '; 1001]).await.0, 413);
    assert_eq!(stage.send("/validate-m", "no JSON").await.0, 400);
    let get = Request::get("/validate-m").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(stage.judge.answer(get).await.status(), 405);
    let outcomes: Vec<&str> = stage.heard().iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, ["unknown", "too_large", "malformed", "malformed"]);
    assert_eq!(stage.heard()[0].0, "other", "a stranger's path is no label");
}

#[tokio::test]
async fn a_probe_is_answered_with_a_warning_that_names_it() {
    let stage = stage(|_| Ok(Verdict::default()));
    let mut review = review("CREATE", &thing(), &Value::Null);
    review["request"]["name"] = "webhook-probe-7".into();
    let response = stage.ask(probe::PATH, &review).await;
    assert_eq!(response["warnings"], json!([probe::echo("webhook-probe-7")]));
}

fn conversion(objects: &[Value]) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": "u", "desiredAPIVersion": "m.example.org/v2", "objects": objects}})
}

fn converting() -> Stage {
    let convert = |wanted: String, objects: Vec<Document>| {
        let next = |document: Document| {
            let mut object = document.to_value().unwrap();
            object["apiVersion"] = wanted.clone().into();
            Document::from_value(&object)
        };
        objects.into_iter().map(next).collect()
    };
    stage_with(Stub::converting(manifest("m"), convert), Limits::default())
}

#[tokio::test]
async fn objects_are_converted_by_the_module_of_their_kind() {
    let stage = converting();
    let response = stage.ask(CONVERT, &conversion(&[thing(), thing()])).await;
    assert_eq!(response["result"]["status"], "Success");
    assert_eq!(response["convertedObjects"][1]["apiVersion"], "m.example.org/v2");
    assert_eq!(stage.heard(), [(CONVERT.to_owned(), "converted")]);
}

#[tokio::test]
async fn an_object_that_nobody_converts_is_answered_with_the_reason() {
    let stage = converting();
    let mut stranger = thing();
    stranger["kind"] = "Stranger".into();
    let response = stage.ask(CONVERT, &conversion(&[stranger])).await;
    assert_eq!(response["result"]["status"], "Failure");
    assert!(response["result"]["message"].as_str().unwrap().contains("no module converts Stranger"));
}

#[tokio::test]
async fn where_no_module_converts_nobody_is_there_to_ask() {
    let mut alone = manifest("m");
    for kind in &mut alone.kinds {
        kind.crd["spec"]["conversion"] = Value::Null;
    }
    let stage = stage_with(Stub::accepting(alone), Limits::default());
    let (code, text) = stage.send(CONVERT, conversion(&[thing()]).to_string()).await;
    assert_eq!(code, 404, "{text}");
    assert!(text.as_str().unwrap().contains("load"), "{text}");
    assert_eq!(stage.heard(), [(CONVERT.to_owned(), "unknown")]);
}

/// A body of so many bytes that never comes.
struct Announced(usize);

impl Body for Announced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.try_into().unwrap())
    }
}

/// A body that never ends, of a byte each time it is asked for one after a while.
struct Dripping(Pin<Box<tokio::time::Sleep>>);

impl Body for Dripping {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::ready!(self.0.as_mut().poll(context));
        self.0.as_mut().reset(Instant::now() + Duration::from_millis(50));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

impl Stage {
    async fn announce(&self, uri: &str, bytes: usize) -> StatusCode {
        self.judge.answer(Request::post(uri).body(Announced(bytes)).unwrap()).await.status()
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_a_byte_came_and_ends_its_connection() {
    let stage = stage(|_| Ok(Verdict::default()));
    let too_large = Limits::default().admission_bytes + 1;
    let request = Request::post("/validate-m").body(Announced(too_large)).unwrap();
    let response = stage.judge.answer(request).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[CONNECTION]),
        (413, &HeaderValue::from_static("close"))
    );
    let too_large = Limits::default().conversion_bytes + 1;
    assert_eq!(stage.announce(CONVERT, too_large).await, 413);
}

#[tokio::test(start_paused = true)]
async fn conversions_that_take_all_the_room_there_is_for_them_make_others_wait_but_no_review() {
    let stage = converting();
    let limits = Limits::default();
    let holding = || stage.announce(CONVERT, limits.conversion_bytes);
    let others = async {
        let body = conversion(&[thing()]).to_string();
        assert_eq!(stage.send("/convert?timeout=300ms", body.clone()).await.0, 503, "there is no room so soon");
        let admitted = stage.ask("/validate-m", &review("CREATE", &thing(), &Value::Null)).await;
        assert_eq!(admitted["allowed"], true);
        assert_eq!(stage.send(CONVERT, body).await.0, 200, "who did not send has made room");
    };
    let (first, ()) = tokio::join!(holding(), others);
    assert_eq!(first, 408);
    let heard: Vec<&str> = stage.heard().iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(heard, ["busy", "allowed", "late", "converted"]);
}

#[tokio::test(start_paused = true)]
async fn many_large_reviews_that_do_not_come_keep_no_small_one_waiting() {
    let stage = stage(|_| Ok(Verdict::default()));
    let announced =
        std::iter::repeat_with(|| stage.announce("/validate-m", Limits::default().admission_bytes)).take(100);
    let reviews = async {
        for _ in 0..100 {
            let answer = stage.ask("/validate-m?timeout=1s", &review("CREATE", &thing(), &Value::Null)).await;
            assert_eq!(answer["allowed"], true);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (codes, ()) = tokio::join!(all(announced), reviews);
    assert!(codes.iter().all(|code| [408, 503].contains(&code.as_u16())), "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up_before_its_deadline() {
    let stage = stage(|_| Ok(Verdict::default()));
    let drips = Dripping(Box::pin(tokio::time::sleep(Duration::ZERO)));
    let started = Instant::now();
    let response = stage.judge.answer(Request::post("/validate-m").body(drips).unwrap()).await;
    assert_eq!(response.status(), 408);
    assert!(started.elapsed() < within("", Limits::default().admission), "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_on_any_path_are_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        path in prop::sample::select(vec!["/validate-m", "/mutate-m", "/convert", "/probe", "/x"]),
    ) {
        let stage = stage(|_| Ok(Verdict::default()));
        let (code, _) = pollster(stage.send(path, bytes));
        prop_assert!((400..500).contains(&code));
    }

    #[test]
    fn a_review_that_was_damaged_anywhere_gets_an_answer_with_its_uid_or_a_code_from_400_on(
        path in prop::sample::select(vec!["/validate-m", "/mutate-m", "/probe"]),
        operation in prop::sample::select(vec!["CREATE", "UPDATE", "DELETE", "CONNECT", "PONDER", ""]),
        object in json(),
        old in json(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = review(operation, &object, &old).to_string().into_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let stage = stage(|request| Ok(Verdict { object: request.object, ..Verdict::default() }));
        let (code, answer) = pollster(stage.send(path, bytes.clone()));
        if code == 200 {
            let sent: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&answer["response"]["uid"], &sent["request"]["uid"]);
            prop_assert!(answer["response"]["allowed"].is_boolean());
        } else {
            prop_assert!((400..500).contains(&code), "{} {}", code, answer);
        }
    }

    #[test]
    fn a_conversion_of_anything_gets_an_answer_or_a_code_from_400_on(
        objects in json(), wanted in json(), damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let body = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "u", "desiredAPIVersion": wanted, "objects": objects}});
        let mut bytes = body.to_string().into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (code, answer) = pollster(converting().send(CONVERT, bytes));
        prop_assert!(code == 200 && answer["response"]["uid"].is_string() || (400..500).contains(&code), "{} {}", code, answer);
    }

    #[test]
    fn whatever_object_the_module_answers_there_is_a_patch_that_applies_or_a_refusal(before in json(), after in json()) {
        let verdict = Document::from_value(&after);
        let stage = stage(move |_| Ok(Verdict { object: Some(verdict.clone()), ..Verdict::default() }));
        let before = json!({"a": before});
        let response = pollster(stage.ask("/mutate-m", &review("CREATE", &before, &Value::Null)));
        if response["allowed"] == true && response.get("patch").is_some() {
            let patch: json_patch::Patch = serde_json::from_value(patch_of(&response)).unwrap();
            let mut patched = before;
            prop_assert!(json_patch::patch(&mut patched, &patch).is_ok());
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z~/]{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c~/]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The results of all these, at once.
async fn all<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut under_way: Vec<_> = work.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        under_way.retain_mut(|work| match work.as_mut().poll(context) {
            Poll::Ready(result) => {
                done.push(result);
                false
            }
            Poll::Pending => true,
        });
        if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

fn pollster<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}
