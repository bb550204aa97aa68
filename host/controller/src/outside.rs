//! The world beyond Kubernetes objects, asked in the background: a question is answered with what is known, and its parent comes back
//! when that changes.

mod addresses;
mod deeds;
mod http;
mod pods;
mod questions;
mod quotas;
mod registry;
mod secrets;
mod trail;
mod trust;
mod turns;

use std::{sync::Arc, time::Duration};

use kube::Client;
use operator_core::{
    Action, BoxFuture, Deed, Finding, HttpRequest, ObjectRef, Query, QueryFailure, Question, contract::SecretRule,
};
use tokio::{
    sync::{
        mpsc::UnboundedSender,
        watch::{self, Receiver},
    },
    task::AbortHandle,
};

pub use self::http::Reach;
use self::{deeds::Deeds, http::Servers, questions::Questions, quotas::Quotas, secrets::Secrets, turns::Turns};
use crate::{Asker, Cache, Clock, Found, Outside, Store, apply, lease::leadership_lost};

/// Finds out what modules ask beyond Kubernetes objects, and does what they want done there.
pub struct Beyond {
    field: Arc<Field>,
    questions: Arc<Questions>,
    deeds: Arc<Deeds>,
}

impl Beyond {
    /// Asks through the first client, and has commands run through the second; sends a parent to `wake` when one of its answers has changed. Nothing is asked or done while `leading` is
    /// false, and what is under way then is cancelled: another replica may be doing the same.
    pub fn new(
        [client, commands]: [Client; 2],
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        wake: UnboundedSender<ObjectRef>,
        reach: Reach,
        leading: Receiver<bool>,
    ) -> Self {
        let (servers, turns, ended) = (Servers::new(reach), Turns::default(), watch::channel(false).0);
        let quotas = Quotas::default();
        let field = Arc::new(Field { client, commands, store, clock, wake, servers, turns, quotas, leading, ended });
        let (questions, deeds) = (Questions::new(Arc::clone(&field)), Deeds::new(Arc::clone(&field)));
        Self { field, questions: Arc::new(questions), deeds: Arc::new(deeds) }
    }
}

impl Outside for Beyond {
    fn find(&self, asker: Asker<'_>, query: &Query) -> Found {
        self.questions.find(asker, query)
    }

    fn act(&self, asker: Asker<'_>, action: &Action) -> Found {
        self.deeds.act(asker, action)
    }

    fn outcome(&self, parent: &ObjectRef, action: &Action) -> Found {
        self.deeds.outcome(parent, action)
    }

    fn keep(&self, parent: &ObjectRef, queries: &[Query], actions: &[Action]) {
        self.questions.keep(parent, queries);
        self.deeds.keep(parent, actions);
    }

    fn revoke(&self, module: &str) {
        self.questions.revoke(module);
        self.deeds.revoke(module);
    }

    fn forget(&self, parent: &ObjectRef) {
        self.questions.forget(parent);
        self.deeds.forget(parent);
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.field.ended.send_replace(true);
            self.field.turns.end().await;
        })
    }
}

/// Where questions are asked and actions done.
struct Field {
    client: Client,
    commands: Client,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Parents whose answers have changed.
    wake: UnboundedSender<ObjectRef>,
    servers: Servers,
    turns: Turns,
    quotas: Quotas,
    /// Whether this replica may write.
    leading: Receiver<bool>,
    /// Whether the process stops.
    ended: watch::Sender<bool>,
}

/// A task that is cancelled when nobody holds this any more.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// For whom something is asked or done.
#[derive(Clone, Debug)]
struct Whom {
    module: String,
    parent: ObjectRef,
    /// Where the Secrets are that it names.
    namespace: String,
    /// Which of them it may name, for which servers.
    secrets: Arc<[SecretRule]>,
}

fn whom(asker: Asker<'_>) -> Whom {
    let Asker { module, parent, namespace, secrets } = asker;
    Whom { module: module.to_owned(), parent: parent.clone(), namespace: namespace.to_owned(), secrets: secrets.into() }
}

/// The server that is asked or told something; none for pods and objects.
fn server(request: &HttpRequest) -> Option<String> {
    request.server().ok().map(|server| format!("{}:{}", server.host, server.port))
}

/// Where a question leads.
fn asked(question: &Question) -> Option<String> {
    match question {
        Question::Http(request) => server(request),
        Question::Objects(_) | Question::PodLog(_) | Question::Command(_) => None,
    }
}

/// Where an action leads.
fn told(deed: &Deed) -> Option<String> {
    match deed {
        Deed::Http(request) => server(request),
        Deed::Delete { .. } => None,
    }
}

impl Field {
    /// Asks a question.
    async fn ask(&self, whom: &Whom, query: &Query) -> Found {
        let outcome = match &query.question {
            Question::PodLog(question) => pods::log(&self.client, question).await,
            Question::Command(question) => pods::command(&self.commands, question).await,
            Question::Objects(_) => Err(QueryFailure::Failed("objects are found in the cache".into())),
            Question::Http(request) => {
                let secrets = Secrets::new(&self.client, whom);
                return registry::with_credentials(&self.servers, secrets, request, &query.extensions).await;
            }
        };
        Found::new(outcome, None)
    }

    /// Does an action.
    async fn act(&self, whom: &Whom, action: &Action) -> Found {
        match &action.deed {
            Deed::Http(request) => self.servers.send(Secrets::new(&self.client, whom), request, &[]).await,
            Deed::Delete { identity, uid } => {
                let existed = self.store.get(identity).is_some();
                let deleted = apply::remove(&self.client, &*self.store, identity, uid).await;
                let outcome = deleted.map(|()| Finding::Deleted(existed));
                Found::new(outcome.map_err(|error| QueryFailure::Failed(error.to_string())), None)
            }
        }
    }

    /// Does one thing outside, for a parent of `namespace`, when its turn has come, within `seconds` from then on. None when it was given
    /// up, since this replica may not do it any more.
    async fn within(
        &self,
        namespace: &str,
        server: Option<String>,
        seconds: u32,
        work: BoxFuture<'_, Found>,
    ) -> Option<Found> {
        let (mut leading, mut ended) = (self.leading.clone(), self.ended.subscribe());
        let work = async {
            let Some(server) = server else {
                let _turn = self.turns.take(namespace, None).await?;
                return Some(limited(seconds, work).await);
            };
            let place = (namespace.to_owned(), server);
            let _turn = self.turns.take(namespace, Some(&place.1)).await?;
            if let Some(why) = self.turns.rests(&place) {
                return Some(Found::new(Err(QueryFailure::Unreachable(why)), None));
            }
            let found = limited(seconds, work).await;
            self.turns.note(place, silence(&found));
            Some(found)
        };
        let found = tokio::select! {
            biased;
            () = leadership_lost(&mut leading) => return None,
            _ = ended.wait_for(|ended| *ended) => return None,
            found = work => found,
        };
        found.map(|found| Found { at: Some(self.clock.now()), ..found })
    }

    /// Brings a parent back.
    fn wake(&self, parent: &ObjectRef) {
        // Nobody listens any more when the operator stops.
        let _ = self.wake.send(parent.clone());
    }
}

async fn limited(seconds: u32, work: BoxFuture<'_, Found>) -> Found {
    let limit = Duration::from_secs(seconds.clamp(1, 60).into());
    let found = tokio::time::timeout(limit, work).await;
    found.unwrap_or_else(|_| Found::new(Err(QueryFailure::TimedOut), None))
}

/// What happened instead of an answer. A server that showed its certificate is there, whatever became of it.
fn silence(found: &Found) -> Option<String> {
    match &found.outcome {
        Err(failure @ QueryFailure::TimedOut) => Some(failure.to_string()),
        Err(QueryFailure::Unreachable(why)) if found.certificate.is_none() => Some(why.clone()),
        _ => None,
    }
}
