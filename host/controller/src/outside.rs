//! The world beyond Kubernetes objects, asked in the background: a question is answered with what is known, and its parent comes back
//! when that changes.

mod addresses;
mod deeds;
mod http;
mod pods;
mod questions;
mod registry;
mod secrets;
mod trust;

use std::{sync::Arc, time::Duration};

use kube::Client;
use operator_core::{Action, Deed, Finding, ObjectRef, Query, QueryFailure, Question};
use tokio::sync::{Semaphore, mpsc::UnboundedSender};

pub use self::http::Reach;
use self::{deeds::Deeds, http::Servers, questions::Questions};
use crate::{Asker, Cache, Clock, Found, Outside, Store, apply};

/// So many questions and actions of all modules are under way at a time; the others wait.
const AT_ONCE: usize = 64;

/// Finds out what modules ask beyond Kubernetes objects, and does what they want done there.
pub struct Beyond {
    questions: Arc<Questions>,
    deeds: Arc<Deeds>,
}

impl Beyond {
    /// Asks through `client`; sends a parent to `wake` when one of its answers has changed.
    pub fn new(
        client: Client,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        wake: UnboundedSender<ObjectRef>,
        reach: Reach,
    ) -> Self {
        let (servers, permits) = (Servers::new(client.clone(), reach), Semaphore::new(AT_ONCE));
        let field = Arc::new(Field { client, store, clock, wake, servers, permits });
        Self { questions: Arc::new(Questions::new(Arc::clone(&field))), deeds: Arc::new(Deeds::new(field)) }
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

    fn forget(&self, parent: &ObjectRef) {
        self.questions.forget(parent);
        self.deeds.forget(parent);
    }
}

/// Where questions are asked and actions done.
struct Field {
    client: Client,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Parents whose answers have changed.
    wake: UnboundedSender<ObjectRef>,
    servers: Servers,
    permits: Semaphore,
}

impl Field {
    /// Asks a question for a parent whose Secrets are in `namespace`.
    async fn ask(&self, namespace: &str, query: &Query) -> Found {
        let outcome = match &query.question {
            Question::PodLog(question) => pods::log(&self.client, question).await,
            Question::Command(question) => pods::command(&self.client, question).await,
            Question::Objects(_) => Err(QueryFailure::Failed("objects are found in the cache".into())),
            Question::Http(request) => {
                return registry::with_credentials(&self.servers, namespace, request, &query.extensions).await;
            }
        };
        Found::new(outcome, None)
    }

    /// Does an action for a parent whose Secrets are in `namespace`.
    async fn act(&self, namespace: &str, action: &Action) -> Found {
        match &action.deed {
            Deed::Http(request) => self.servers.send(namespace, request, &[]).await,
            Deed::Delete { identity, uid } => {
                let existed = self.store.get(identity).is_some();
                let deleted = apply::remove(&self.client, &*self.store, identity, uid).await;
                let outcome = deleted.map(|()| Finding::Deleted(existed));
                Found::new(outcome.map_err(|error| QueryFailure::Failed(error.to_string())), None)
            }
        }
    }

    /// Does one thing outside, when there is room for it, within `seconds` from then on.
    async fn within(&self, seconds: u32, work: impl Future<Output = Found>) -> Found {
        // It is never closed.
        let _permit = self.permits.acquire().await;
        let limit = Duration::from_secs(seconds.clamp(1, 60).into());
        let found = tokio::time::timeout(limit, work).await;
        let found = found.unwrap_or_else(|_| Found::new(Err(QueryFailure::TimedOut), None));
        Found { at: Some(self.clock.now()), ..found }
    }

    /// Brings a parent back.
    fn wake(&self, parent: &ObjectRef) {
        // Nobody listens any more when the operator stops.
        let _ = self.wake.send(parent.clone());
    }
}
