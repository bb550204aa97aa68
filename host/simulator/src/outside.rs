//! What scripts say about the world beyond objects: logs, commands in pods, servers.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use operator_controller::{Asker, Clock, Found, Outside};
use operator_core::{
    Action, CommandQuery, CommandResult, Deed, Finding, HttpRequest, HttpResponse, ObjectRef, PodLogQuery, Query,
    QueryFailure, Question, SecretKey, Trust, grants,
};
use serde_json::Value;

use crate::FakeCluster;

/// Which requests are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Their method.
    pub method: String,
    /// Their URL; with `*` at its end, all that begin so.
    pub url: String,
}

/// What a server does with some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which requests.
    pub to: Requests,
    /// What it answers, or why there is no answer.
    pub outcome: Result<HttpResponse, QueryFailure>,
    /// Only once such a request has been sent and was answered without an error.
    pub after: Option<Requests>,
}

/// The certificate that a server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Which URLs; with `*` at its end, all that begin so.
    pub url: String,
    /// The certificate's SHA-256, in lower-case hex.
    pub sha256: String,
    /// Whether public roots vouch for it.
    pub public: bool,
}

/// What a program does in the containers of some images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// A part of the image's name.
    pub image: String,
    /// The program, and its first arguments if those matter.
    pub command: String,
    /// What it does. `{node}` and `{pod}` in its output stand for the pod's.
    pub result: CommandResult,
}

/// One request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Method.
    pub method: String,
    /// URL.
    pub url: String,
    /// Body, as text.
    pub body: String,
    /// Whether it was an action, and not a question.
    pub action: bool,
    /// The status code of the answer, or why there was none.
    pub outcome: Result<u16, QueryFailure>,
}

/// What scripts say, and what modules did there.
pub(crate) struct Script {
    cluster: FakeCluster,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    logs: Vec<(String, String)>,
    programs: Vec<Program>,
    replies: Vec<Reply>,
    certificates: Vec<Certificate>,
    sent: Vec<Sent>,
    deleted: usize,
    /// Outcomes of actions, by parent and id.
    done: HashMap<(ObjectRef, String), Found>,
}

impl Requests {
    /// Whether a request is one of them.
    pub fn contain(&self, method: &str, url: &str) -> bool {
        self.method == method && fits(&self.url, url)
    }
}

fn fits(pattern: &str, url: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == url, |start| url.starts_with(start))
}

impl Script {
    pub(crate) fn new(cluster: FakeCluster) -> Self {
        Self { cluster, said: Mutex::default() }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_log(&self, image: &str, line: &str) {
        self.said().logs.push((image.to_owned(), line.to_owned()));
    }

    pub(crate) fn add_program(&self, program: Program) {
        self.said().programs.push(program);
    }

    pub(crate) fn add_reply(&self, reply: Reply) {
        self.said().replies.push(reply);
    }

    pub(crate) fn add_certificate(&self, certificate: Certificate) {
        self.said().certificates.push(certificate);
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.said().sent.clone()
    }

    /// How much was done: deletions, and requests that differ from all before.
    pub(crate) fn deeds(&self) -> usize {
        let said = self.said();
        let first = |(index, sent): &(usize, &Sent)| !said.sent.iter().take(*index).any(|other| other == *sent);
        said.deleted + said.sent.iter().enumerate().filter(|(_, sent)| sent.action).filter(first).count()
    }

    /// A pod and one of its containers.
    fn container(&self, namespace: &str, pod: &str, container: &str) -> Result<(Value, String), QueryFailure> {
        let identity = ObjectRef::namespaced("v1", "Pod", namespace, pod);
        let object = self.cluster.object(&identity).ok_or_else(|| QueryFailure::NotFound(identity.to_string()))?;
        let containers = object.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let image = containers
            .filter(|c| c.get("name").and_then(Value::as_str) == Some(container))
            .find_map(|c| c.get("image").and_then(Value::as_str))
            .ok_or_else(|| QueryFailure::NotFound(format!("container {container} of {identity}")))?
            .to_owned();
        Ok((object, image))
    }

    fn log(&self, query: &PodLogQuery) -> Result<Finding, QueryFailure> {
        let (pod, image) = self.container(&query.namespace, &query.pod, &query.container)?;
        let said = self.said();
        let lines = said.logs.iter().filter(|(part, _)| image.contains(part.as_str()));
        let lines = lines.map(|(_, line)| filled(line, &pod));
        Ok(Finding::Lines(lines.filter(|line| line.contains(&query.contains)).collect()))
    }

    fn run(&self, query: &CommandQuery) -> Result<Finding, QueryFailure> {
        let (pod, image) = self.container(&query.namespace, &query.pod, &query.container)?;
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
        let runs = statuses
            .filter(|status| status.get("name").and_then(Value::as_str) == Some(query.container.as_str()))
            .any(|status| status.pointer("/state/running").is_some());
        if !runs {
            let CommandQuery { container, pod, .. } = query;
            return Err(QueryFailure::Failed(format!("container {container} of pod {pod} does not run")));
        }
        let line = query.command.join(" ");
        let said = self.said();
        // What was said last holds.
        let program = said.programs.iter().rev().find(|program| {
            let rest = line.strip_prefix(&program.command);
            image.contains(&program.image) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        let Some(program) = program else {
            let name = query.command.first().map_or("", String::as_str);
            let message =
                format!("the script does not say what {name} does in {image}; write `command IMAGE {name} 0`");
            return Err(QueryFailure::Failed(message));
        };
        let output = |bytes: &[u8]| filled(&String::from_utf8_lossy(bytes), &pod).into_bytes();
        let CommandResult { code, stdout, stderr } = &program.result;
        Ok(Finding::Command(CommandResult { code: *code, stdout: output(stdout), stderr: output(stderr) }))
    }

    /// Sends a request to the server that the script plays.
    fn send(&self, asker: Asker<'_>, request: &HttpRequest, action: bool) -> Found {
        let certificate = self.said().shown(&request.url).map(|shown| shown.sha256.clone());
        let outcome = self.exchange(asker, request, action);
        Found { outcome: outcome.map(Finding::Http), at: Some(self.cluster.now()), certificate }
    }

    fn exchange(&self, asker: Asker<'_>, request: &HttpRequest, action: bool) -> Result<HttpResponse, QueryFailure> {
        for key in request.secrets() {
            self.secret(asker, request, key)?;
        }
        let mut said = self.said();
        // Nothing is sent to a server that is not trusted.
        said.trusts(request)?;
        let outcome = said.reply(&request.method, &request.url);
        said.sent.push(Sent {
            method: request.method.clone(),
            url: request.url.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            action,
            outcome: outcome.as_ref().map(|response| response.status).map_err(Clone::clone),
        });
        outcome
    }

    /// Whether there is the key of a Secret that a request needs, and may be used for it.
    fn secret(&self, asker: Asker<'_>, request: &HttpRequest, key: &SecretKey) -> Result<(), QueryFailure> {
        let identity = ObjectRef::namespaced("v1", "Secret", asker.namespace, &key.name);
        let host = request.server().map_err(|why| QueryFailure::Failed(why.to_owned()))?.host;
        let sets = grants::secret(asker.secrets, &key.name, &host);
        let sets = sets.map_err(|ungranted| QueryFailure::Denied(ungranted.to_string()))?;
        let there = self.cluster.object(&identity);
        let labels = there.as_ref().and_then(|secret| secret.pointer("/metadata/labels").cloned());
        let labels = labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default();
        if let (Some(_), Some(why)) = (&there, grants::lacks_labels(&sets, &labels)) {
            return Err(QueryFailure::Denied(format!("{identity} {why}")));
        }
        let found = there.as_ref().and_then(|secret| secret.get("data")?.get(&key.key));
        found.map(|_| ()).ok_or_else(|| QueryFailure::NotFound(format!("key {} of {identity}", key.key)))
    }
}

impl Said {
    /// The certificate that the server of a URL shows, if the script says.
    fn shown(&self, url: &str) -> Option<&Certificate> {
        self.certificates.iter().rev().find(|certificate| fits(&certificate.url, url))
    }

    fn trusts(&self, request: &HttpRequest) -> Result<(), QueryFailure> {
        let Some(Certificate { sha256, public, .. }) = self.shown(&request.url) else { return Ok(()) };
        match &request.trust {
            Trust::System if !public => {
                Err(QueryFailure::Unreachable(format!("no public root vouches for the certificate {sha256}")))
            }
            Trust::Pinned(wanted) if wanted != sha256 => {
                Err(QueryFailure::Unreachable(format!("the certificate is {sha256}, not {wanted}")))
            }
            _ => Ok(()),
        }
    }

    /// What was said last of such a request, and holds by now.
    fn reply(&self, method: &str, url: &str) -> Result<HttpResponse, QueryFailure> {
        let done = |after: &Requests| {
            let taken = |sent: &Sent| matches!(sent.outcome, Ok(status) if status < 400);
            self.sent.iter().any(|sent| after.contain(&sent.method, &sent.url) && taken(sent))
        };
        let holds = |reply: &&Reply| reply.to.contain(method, url) && reply.after.as_ref().is_none_or(done);
        self.replies.iter().rev().find(holds).map_or_else(
            || {
                let message = if self.replies.is_empty() {
                    "there are no servers in a simulation".to_owned()
                } else {
                    format!("nobody answers; write `answer {method} {url} 200` in the script")
                };
                Err(QueryFailure::Unreachable(message))
            },
            |reply| reply.outcome.clone(),
        )
    }
}

fn filled(text: &str, pod: &Value) -> String {
    let of = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text.replace("{node}", of("/spec/nodeName")).replace("{pod}", of("/metadata/name"))
}

impl Outside for Script {
    fn find(&self, asker: Asker<'_>, query: &Query) -> Found {
        let at = Some(self.cluster.now());
        match &query.question {
            Question::PodLog(log) => Found::new(self.log(log), at),
            Question::Objects(_) => Found::new(Err(QueryFailure::Failed("objects are found in the cache".into())), at),
            Question::Command(command) => Found::new(self.run(command), at),
            Question::Http(request) => self.send(asker, request, false),
        }
    }

    /// Each time: nothing takes time here, and whoever asks for the same again and again is told so by a scenario that never settles.
    fn act(&self, asker: Asker<'_>, action: &Action) -> Found {
        let found = match &action.deed {
            Deed::Delete { identity, uid } => {
                let there = self.cluster.object(identity);
                let same = there.is_some_and(|o| o.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid));
                let deleted = same && self.cluster.remove(identity);
                self.said().deleted += usize::from(deleted);
                Found::new(Ok(Finding::Deleted(deleted)), Some(self.cluster.now()))
            }
            Deed::Http(request) => self.send(asker, request, true),
        };
        self.said().done.insert((asker.parent.clone(), action.id.clone()), found.clone());
        found
    }

    fn outcome(&self, parent: &ObjectRef, action: &Action) -> Found {
        self.said().done.get(&(parent.clone(), action.id.clone())).cloned().unwrap_or_else(Found::pending)
    }

    fn forget(&self, parent: &ObjectRef) {
        self.said().done.retain(|(asker, _), _| asker != parent);
    }
}
