//! Logs of pods, asked in the background: a question is answered with what is known, and its parent comes back when that changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource, api::LogParams, core::Request};
use operator_core::{Action, BoxFuture, Deed, Finding, ObjectRef, PodLogQuery, Query, QueryFailure, Question};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use crate::{Cache, Clock, Outside, Store, apply, background::again_after_panics};

/// At most so much of a log is read, in bytes.
const LOG_LIMIT: i64 = 1024 * 1024;
/// Answers are forgotten that nobody has asked for in so long.
const KEEP: Duration = Duration::from_hours(1);
/// A question is not asked again sooner, whatever its interval.
const SOONEST: Duration = Duration::from_secs(1);

type Asked = (ObjectRef, String);

/// Finds out what modules ask beyond Kubernetes objects, and does what they want done there.
pub struct Beyond {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    answers: Mutex<HashMap<Asked, Answer>>,
    /// Parents whose answers have changed.
    wake: UnboundedSender<ObjectRef>,
}

#[derive(Clone)]
struct Answer {
    question: Question,
    outcome: Result<Finding, QueryFailure>,
    /// When it was given, in Unix seconds.
    at: Option<i64>,
    /// When somebody wanted it last.
    wanted: Instant,
}

impl Beyond {
    /// Asks through `client`; sends a parent to `wake` when one of its answers has changed.
    pub fn new(client: Client, store: Arc<Store>, clock: Arc<dyn Clock>, wake: UnboundedSender<ObjectRef>) -> Self {
        Self { inner: Arc::new(Inner { client, store, clock, answers: Mutex::default(), wake }) }
    }
}

impl Inner {
    fn answers(&self) -> MutexGuard<'_, HashMap<Asked, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and asks again after each interval for as long as somebody wants to know.
    async fn pursue(self: Arc<Self>, parent: ObjectRef, query: Query) {
        let (key, timeout) =
            ((parent.clone(), query.id.clone()), Duration::from_secs(query.timeout.clamp(1, 60).into()));
        loop {
            let outcome = tokio::time::timeout(timeout, self.ask(&query.question)).await;
            let outcome = outcome.unwrap_or(Err(QueryFailure::TimedOut));
            {
                let mut answers = self.answers();
                let Some(answer) = answers.get_mut(&key).filter(|answer| answer.question == query.question) else {
                    return;
                };
                let changed = answer.outcome != outcome;
                (answer.outcome, answer.at) = (outcome, Some(self.clock.now()));
                if changed {
                    // Nobody listens any more when the operator stops.
                    let _ = self.wake.send(parent.clone());
                }
                if answer.wanted.elapsed() > KEEP {
                    answers.remove(&key);
                    return;
                }
            }
            tokio::time::sleep(interval(&query)).await;
        }
    }

    async fn ask(&self, question: &Question) -> Result<Finding, QueryFailure> {
        match question {
            Question::PodLog(query) => self.log(query).await,
            Question::Objects(_) => Err(QueryFailure::Failed("objects are found in the cache".into())),
            Question::Command(_) => Err(QueryFailure::Failed("this host does not run commands in pods".into())),
            Question::Http(_) => Err(QueryFailure::Failed("this host does not send HTTP requests".into())),
        }
    }

    async fn log(&self, query: &PodLogQuery) -> Result<Finding, QueryFailure> {
        // Both become parts of a path.
        for name in [&query.namespace, &query.pod] {
            if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)) {
                return Err(QueryFailure::Failed(format!("{name:?} is no name of a Kubernetes object")));
            }
        }
        let params = LogParams {
            container: Some(query.container.clone()),
            limit_bytes: Some(LOG_LIMIT),
            ..LogParams::default()
        };
        let request = Request::new(Pod::url_path(&(), Some(&query.namespace))).logs(&query.pod, &params);
        let request = request.map_err(|error| QueryFailure::Failed(error.to_string()))?;
        let text = self.client.request_text(request).await.map_err(|error| failure(query, error))?;
        let lines = text.lines().filter(|line| line.contains(&query.contains)).map(str::to_owned);
        Ok(Finding::Lines(lines.take(query.limit as usize).collect()))
    }

    async fn act(&self, action: &Action) -> Result<Finding, QueryFailure> {
        match &action.deed {
            Deed::Delete { identity, uid } => {
                let existed = self.store.get(identity).is_some();
                let deleted = apply::remove(&self.client, &*self.store, identity, uid).await;
                deleted.map(|()| Finding::Deleted(existed)).map_err(|error| QueryFailure::Failed(error.to_string()))
            }
            Deed::Http(_) => Err(QueryFailure::Failed("this host does not send HTTP requests".into())),
        }
    }
}

/// Between two times at which the same is asked.
fn interval(query: &Query) -> Duration {
    Duration::from_secs(query.interval.into()).max(SOONEST)
}

fn failure(query: &PodLogQuery, error: kube::Error) -> QueryFailure {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            QueryFailure::NotFound(format!("pod {}/{}", query.namespace, query.pod))
        }
        kube::Error::Api(status) if status.code == 403 => QueryFailure::Denied(status.message.clone()),
        kube::Error::Api(status) => QueryFailure::Failed(status.message.clone()),
        other => QueryFailure::Unreachable(other.to_string()),
    }
}

impl Outside for Beyond {
    fn find(&self, parent: &ObjectRef, query: &Query) -> (Result<Finding, QueryFailure>, Option<i64>) {
        let key = (parent.clone(), query.id.clone());
        let mut answers = self.inner.answers();
        if let Some(answer) = answers.get_mut(&key).filter(|answer| answer.question == query.question) {
            answer.wanted = Instant::now();
            return (answer.outcome.clone(), answer.at);
        }
        let now = Instant::now();
        let (question, outcome) = (query.question.clone(), Err(QueryFailure::Pending));
        answers.insert(key, Answer { question, outcome: outcome.clone(), at: None, wanted: now });
        drop(answers);
        let (inner, parent, query) = (Arc::clone(&self.inner), parent.clone(), query.clone());
        tokio::spawn(async move {
            let pursue = || Arc::clone(&inner).pursue(parent.clone(), query.clone());
            again_after_panics("a question", interval(&query), pursue).await;
        });
        (outcome, None)
    }

    fn act<'a>(&'a self, _: &'a ObjectRef, action: &'a Action) -> BoxFuture<'a, Result<Finding, QueryFailure>> {
        Box::pin(self.inner.act(action))
    }
}
