//! A host and a CAS in memory, for the tests of both policy modules: it does what an answer asks for, and tells the next snapshot.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::struct_excessive_bools,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    marker::PhantomData,
    path::PathBuf,
};

use operator_guest::{
    Answer, ConditionStatus, Deed, Finding, HttpRequest, HttpResponse, Module, ObjectRef, Observed, QueryFailure,
    Question, Trust, native, wire,
};
use serde_json::{Value, json};

/// The certificate that the CAS shows, unless it is told otherwise.
pub(crate) const CERTIFICATE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another one.
pub(crate) const OTHER_CERTIFICATE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What is wrong with the CAS.
#[derive(Clone, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Every answer has this status.
    Status(u16),
    /// Every answer to an upload has.
    Upload(u16),
    /// An upload that CAS takes, and the answer does not arrive.
    CutOff,
    /// No answer, for this reason.
    Silent(QueryFailure),
    /// Sessions are hidden.
    Hides,
    /// A body that is no session.
    Garbage(Vec<u8>),
}

/// A CAS. Hashes are numbers, counted up.
pub(crate) struct Cas {
    pub(crate) fault: Fault,
    pub(crate) certificate: &'static str,
    /// Whether a public authority vouches for it.
    pub(crate) is_public: bool,
    /// Whether the certificate in a Secret vouches for it.
    pub(crate) vouched: bool,
    /// Text and hash by name.
    pub(crate) sessions: BTreeMap<String, (String, String)>,
    /// Whether it tells hashes.
    pub(crate) tells: bool,
    /// Whether it gives sessions back otherwise than they came.
    pub(crate) rewrites: bool,
    /// The policies in what is encrypted.
    pub(crate) decrypts: BTreeMap<String, String>,
    count: u64,
}

impl Cas {
    fn new() -> Self {
        Self {
            fault: Fault::None,
            certificate: CERTIFICATE,
            is_public: true,
            vouched: true,
            sessions: BTreeMap::new(),
            tells: true,
            rewrites: false,
            decrypts: BTreeMap::new(),
            count: 0,
        }
    }

    /// Holds a session as somebody else put it there.
    pub(crate) fn hold(&mut self, text: &str) -> String {
        self.count += 1;
        let hash = format!("{:064x}", self.count);
        let name = scone_api::policy_text::Head::of(text).name.unwrap_or_else(|| "encrypted".to_owned());
        self.sessions.insert(name, (text.to_owned(), hash.clone()));
        hash
    }

    fn answer(&mut self, request: &HttpRequest) -> Result<(u16, Vec<u8>), QueryFailure> {
        let believed = match &request.trust {
            Trust::System => self.is_public,
            Trust::Ca(_) => self.vouched,
            Trust::Pinned(hex) => hex == self.certificate,
        };
        if let Fault::Silent(failure) = &self.fault {
            return Err(failure.clone());
        }
        if !believed {
            return Err(QueryFailure::Unreachable("the certificate is not trusted".to_owned()));
        }
        if let Fault::Status(status) = self.fault {
            return Ok((status, b"policy text in an error: s3cret".to_vec()));
        }
        if let Fault::Garbage(body) = &self.fault {
            return Ok((200, body.clone()));
        }
        let path = request.url.split_once("://").unwrap().1.split_once('/').unwrap().1.to_owned();
        match (request.method.as_str(), path.strip_prefix("v1/sessions/")) {
            ("GET", Some(_)) if self.fault == Fault::Hides => Ok((403, Vec::new())),
            ("GET", Some(name)) => Ok(self.read(name)),
            ("GET", None) => Ok((200, b"{}".to_vec())),
            _ => self.take(request),
        }
    }

    fn read(&self, name: &str) -> (u16, Vec<u8>) {
        let Some((text, hash)) = self.sessions.get(name) else { return (404, Vec::new()) };
        let text = if self.rewrites { format!("{text}\n# rewritten\n") } else { text.clone() };
        if self.tells {
            (200, serde_json::to_vec(&json!({"session": text, "hash": hash, "revision": 7})).unwrap())
        } else {
            (200, text.into_bytes())
        }
    }

    fn take(&mut self, request: &HttpRequest) -> Result<(u16, Vec<u8>), QueryFailure> {
        if let Fault::Upload(status) = self.fault {
            return Ok((status, b"policy text in an error: s3cret".to_vec()));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let text = body["session"].as_str().or(body["encrypted_session"].as_str()).unwrap();
        let text = self.decrypts.get(text).cloned().unwrap_or_else(|| text.to_owned());
        let hash = self.hold(&text);
        if self.fault == Fault::CutOff {
            return Err(QueryFailure::TimedOut);
        }
        Ok((201, if self.tells { serde_json::to_vec(&json!({"hash": hash})).unwrap() } else { Vec::new() }))
    }
}

/// A host with one resource.
pub(crate) struct Host<M> {
    pub(crate) parent: Value,
    pub(crate) children: BTreeMap<String, Value>,
    /// What the query for other resources finds.
    pub(crate) others: Vec<Value>,
    pub(crate) settings: Value,
    /// Unix seconds.
    pub(crate) now: i64,
    pub(crate) cas: Cas,
    /// What was sent: method and URL, and the body.
    pub(crate) sent: Vec<(String, String)>,
    /// How often the status was written.
    pub(crate) writes: usize,
    /// Every event: reason and message.
    pub(crate) events: Vec<(String, String)>,
    /// Every state with its reason.
    pub(crate) verdicts: BTreeSet<(String, String)>,
    /// Every other condition: type, status, reason.
    pub(crate) conditions: BTreeSet<(String, String, String)>,
    /// All that was ever said, to look for what must not be said.
    pub(crate) said: String,
    pub(crate) asked: BTreeMap<String, Question>,
    answers: BTreeMap<String, Answer>,
    module: PhantomData<M>,
}

impl<M: Module> Host<M> {
    pub(crate) fn new(parent: Value) -> Self {
        Self {
            parent,
            children: BTreeMap::new(),
            others: Vec::new(),
            settings: json!({}),
            now: 1_700_000_000,
            cas: Cas::new(),
            sent: Vec::new(),
            writes: 0,
            events: Vec::new(),
            verdicts: BTreeSet::new(),
            conditions: BTreeSet::new(),
            said: String::new(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            module: PhantomData,
        }
    }

    /// Changes the spec, as a user does.
    pub(crate) fn edit(&mut self, field: &str, value: Value) {
        self.parent["spec"][field] = value;
        self.parent["metadata"]["generation"] = json!(self.parent["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.parent["metadata"]["annotations"][key] = json!(value);
    }

    /// As after a restart of the operator: what is not in the cluster is forgotten.
    pub(crate) fn forget(&mut self) {
        self.answers.clear();
        self.asked.clear();
    }

    /// Asks all questions again, as the host does at their interval.
    pub(crate) fn poll(&mut self) {
        let asked: Vec<_> = self.asked.keys().cloned().collect();
        for id in asked {
            if let Question::Http(request) = self.asked[&id].clone() {
                let answer = self.http(&id, &request);
                self.answers.insert(id, answer);
            }
        }
    }

    /// Questions are asked again and the module is called until nothing changes. Panics when that never happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..30 {
            let before = (self.parent.clone(), self.children.clone(), self.sent.len());
            self.poll();
            // One call may do what the next one sees; a failed try is made again only in every other call.
            for _ in 0..3 {
                self.step();
            }
            if before == (self.parent.clone(), self.children.clone(), self.sent.len()) || self.is_trying() {
                return;
            }
        }
        panic!("it never comes to rest: {}", self.parent["status"]);
    }

    fn is_trying(&self) -> bool {
        self.parent["status"].get("failedUpload").is_some()
    }

    /// Calls the module once and does what it says.
    pub(crate) fn step(&mut self) -> wire::Desired {
        self.answer_what_is_pending();
        let snapshot = self.snapshot();
        let desired = native::reconcile::<M>(snapshot.clone()).unwrap();
        assert_eq!(
            format!("{desired:?}"),
            format!("{:?}", native::reconcile::<M>(snapshot).unwrap()),
            "twice the same"
        );
        self.listen(&desired);
        let named: BTreeSet<_> = desired
            .queries
            .iter()
            .map(|query| &query.id)
            .chain(desired.actions.iter().map(|action| &action.id))
            .collect();
        assert_eq!(named.len(), desired.queries.len() + desired.actions.len(), "ids are unique");
        self.answers.retain(|id, _| named.contains(id));
        self.asked = desired.queries.iter().map(|query| (query.id.clone(), query.question.clone())).collect();
        for query in &desired.queries {
            let pending = Answer {
                id: query.id.clone(),
                outcome: Err(QueryFailure::Pending),
                asked_at: None,
                extensions: vec![],
            };
            self.answers.entry(query.id.clone()).or_insert(pending);
        }
        for action in &desired.actions {
            let Deed::Http(request) = &action.deed else { panic!("nothing is deleted") };
            let told =
                (format!("{} {}", request.method, request.url), String::from_utf8(request.body.clone()).unwrap());
            self.sent.push(told);
            let answer = self.http(&action.id, request);
            self.answers.insert(action.id.clone(), answer);
        }
        self.write(&desired);
        desired
    }

    fn snapshot(&self) -> wire::Snapshot {
        wire::Snapshot {
            parent: serde_json::to_vec(&self.parent).unwrap(),
            children: self.children.values().map(observed).collect(),
            answers: self.answers.values().cloned().collect(),
            settings: serde_json::to_vec(&self.settings).unwrap(),
            finalizing: false,
            api_versions: Vec::new(),
            now: Some(self.now),
            extensions: Vec::new(),
        }
    }

    fn answer_what_is_pending(&mut self) {
        let pending = |answer: &&Answer| answer.outcome == Err(QueryFailure::Pending);
        let pending: Vec<_> = self.answers.values().filter(pending).map(|answer| answer.id.clone()).collect();
        for id in pending {
            let answer = match self.asked[&id].clone() {
                Question::Http(request) => self.http(&id, &request),
                _ => self.found(&id),
            };
            self.answers.insert(id, answer);
        }
        let objects: Vec<_> =
            self.asked.iter().filter(|(_, q)| matches!(q, Question::Objects(_))).map(|(id, _)| id.clone()).collect();
        for id in objects {
            let answer = self.found(&id);
            self.answers.insert(id, answer);
        }
    }

    fn found(&self, id: &str) -> Answer {
        let outcome = Ok(Finding::Objects(self.others.iter().map(observed).collect()));
        Answer { id: id.to_owned(), outcome, asked_at: None, extensions: Vec::new() }
    }

    fn http(&mut self, id: &str, request: &HttpRequest) -> Answer {
        let outcome = self.cas.answer(request);
        let shows = !matches!(self.cas.fault, Fault::Silent(_));
        let certificate = ("operator/server-certificate-sha256".to_owned(), self.cas.certificate.as_bytes().to_vec());
        let outcome = outcome.map(|(status, body)| Finding::Http(HttpResponse { status, headers: Vec::new(), body }));
        let extensions = if shows { vec![certificate] } else { Vec::new() };
        Answer { id: id.to_owned(), outcome, asked_at: Some(1), extensions }
    }

    fn listen(&mut self, desired: &wire::Desired) {
        let status: Value = serde_json::from_slice(desired.status.as_deref().unwrap()).unwrap();
        for condition in &desired.conditions {
            let holds = status_text(condition.status);
            self.said += &format!("{} {} {}\n", condition.type_, condition.reason, condition.message);
            if condition.type_ == "Ready" {
                let state = status["state"].as_str().unwrap().to_owned();
                assert_eq!(holds == "True", state == "REGISTERED", "ready is what is registered");
                self.verdicts.insert((state, condition.reason.clone()));
            } else {
                self.conditions.insert((condition.type_.clone(), holds.to_owned(), condition.reason.clone()));
            }
        }
        for event in &desired.events {
            self.said += &event.message;
            self.events.push((event.reason.clone(), event.message.clone()));
        }
        self.said += &status.to_string();
    }

    fn write(&mut self, desired: &wire::Desired) {
        let mut status: Value = serde_json::from_slice(desired.status.as_deref().unwrap()).unwrap();
        let conditions = desired.conditions.iter().map(|condition| {
            json!({
                "type": condition.type_, "status": status_text(condition.status), "reason": condition.reason,
                "message": condition.message, "lastTransitionTime": "2023-11-14T22:00:00Z",
            })
        });
        status["conditions"] = conditions.collect();
        status["observedGeneration"] = self.parent["metadata"]["generation"].clone();
        if self.parent.get("status") != Some(&status) {
            self.writes += 1;
            self.parent["status"] = status;
        }
        let named: BTreeSet<_> = desired.children.iter().map(|child| child.identity.name.clone()).collect();
        self.children.retain(|name, _| named.contains(name));
        for child in &desired.children {
            let made = serde_json::from_slice(&child.document).unwrap();
            self.children.entry(child.identity.name.clone()).or_insert(made);
        }
    }

    /// What the module sees next, as a snapshot file.
    pub(crate) fn yaml(&self) -> String {
        let answers: BTreeMap<_, _> =
            self.answers.values().map(|answer| (answer.id.clone(), written(answer))).collect();
        let children: Vec<_> = self.children.values().collect();
        let file = json!({
            "settings": self.settings, "parent": self.parent, "children": children, "answers": answers,
        });
        serde_saphyr::to_string(&file).unwrap()
    }

    /// State and reason.
    pub(crate) fn verdict(&self) -> String {
        format!(
            "{} {}",
            self.parent["status"]["state"].as_str().unwrap(),
            self.condition("Ready")["reason"].as_str().unwrap()
        )
    }

    pub(crate) fn message(&self) -> String {
        self.condition("Ready")["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn condition(&self, type_: &str) -> Value {
        let conditions = self.parent["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == type_).unwrap().clone()
    }

    pub(crate) fn hash(&self) -> &str {
        self.parent["status"]["hash"].as_str().unwrap()
    }
}

fn status_text(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

fn written(answer: &Answer) -> Value {
    let Ok(Finding::Http(response)) = &answer.outcome else { panic!("only answers of servers are written") };
    let extensions: BTreeMap<_, _> =
        answer.extensions.iter().map(|(name, bytes)| (name, String::from_utf8_lossy(bytes))).collect();
    json!({
        "http": {"status": response.status, "body": String::from_utf8_lossy(&response.body)},
        "askedAt": answer.asked_at, "extensions": extensions,
    })
}

/// Compares a snapshot file with what this host would be told, or writes it (`UPDATE=1`). Then holds it to what it says:
/// nothing is sent, and the status stays as it is.
pub(crate) fn check_fixture<M: Module>(folder: &str, file: &str, host: &Host<M>) {
    let path = PathBuf::from(folder).join("tests").join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, host.yaml()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == host.yaml(), "{} is old; run the tests of the module with UPDATE=1", path.display());
    let answer = operator_guest::testing::reconcile::<M>(&text).unwrap();
    let mut status: Value = answer.status().unwrap();
    assert!(answer.desired().unwrap().actions.is_empty() && answer.desired().unwrap().events.is_empty());
    for written_by_host in ["conditions", "observedGeneration"] {
        status[written_by_host] = host.parent["status"][written_by_host].clone();
    }
    assert_eq!(status, host.parent["status"]);
}

fn observed(object: &Value) -> Observed {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let identity = ObjectRef {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
        namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&object["metadata"]["name"]),
    };
    Observed { identity, document: serde_json::to_vec(object).unwrap() }
}

/// What the tables of a README promise.
pub(crate) struct Promised {
    /// State and reason.
    pub(crate) verdicts: BTreeSet<(String, String)>,
    /// Type, status and reason of the other conditions.
    pub(crate) conditions: BTreeSet<(String, String, String)>,
    /// All states.
    pub(crate) states: BTreeSet<String>,
}

/// Reads the README beside the tests of this module.
pub(crate) fn promised(folder: &str) -> Promised {
    let text = fs::read_to_string(PathBuf::from(folder).join("README.md")).unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = |title: &str| -> Vec<Vec<Vec<String>>> {
        let section = text.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.split('|').skip(1).map(words).collect()).collect()
    };
    let verdicts = rows("Reasons").into_iter().flat_map(|row| {
        let pairs = |reason: &String| row[1].iter().map(|state| (state.clone(), reason.clone())).collect::<Vec<_>>();
        row[0].iter().flat_map(pairs).collect::<Vec<_>>()
    });
    let conditions = rows("Conditions").into_iter().filter(|row| row[0][0] != "Ready").flat_map(|row| {
        let statuses = ["True", "False", "Unknown"].into_iter().zip(row[1..].to_vec());
        let all =
            statuses.flat_map(|(status, reasons)| reasons.into_iter().map(move |reason| (status.to_owned(), reason)));
        all.map(|(status, reason)| (row[0][0].clone(), status, reason)).collect::<Vec<_>>()
    });
    Promised {
        verdicts: verdicts.collect(),
        conditions: conditions.collect(),
        states: rows("States").into_iter().flat_map(|row| row[0].clone()).collect(),
    }
}
