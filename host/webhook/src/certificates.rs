//! Where the certificate comes from, and when a new one is served: always after whoever verifies trusts it.

mod folder;
mod keys;
mod resolver;
mod rotation;
pub(crate) mod secret;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cap_std::fs::Dir;
use kube::Client;
use tokio::sync::watch::{self, Receiver};
use tracing::{info, warn};

use self::{
    folder::Handover,
    rotation::{State, Step},
    secret::Stored,
};
pub use self::{resolver::Resolver, rotation::Lifetimes};
use crate::{Clock, Error, Registrar, Witness};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Between two looks after something went wrong, or while nothing is served.
const SOON: Duration = Duration::from_secs(1);
/// A mounted certificate is served after so many seconds even when nobody trusts it yet: whoever injects may be somebody else.
const IMPATIENCE: u64 = 90;

/// Where the certificate comes from.
pub enum Source {
    /// A mounted folder.
    Folder {
        /// The folder.
        folder: Dir,
        /// Its name, for people.
        place: String,
    },
    /// The Secret `webhook-server-cert`, made and rotated here.
    Managed {
        /// For the Secret.
        client: Client,
        /// Its namespace.
        namespace: String,
        /// What the certificate has to carry.
        names: Vec<String>,
        /// How long things last.
        lifetimes: Lifetimes,
        /// Who leads rotates.
        leading: Receiver<bool>,
    },
}

/// The certificate that is served, and what has to be trusted for it.
pub struct Certificates {
    resolver: Arc<Resolver>,
    bundle: watch::Sender<String>,
    clock: Clock,
    witness: Arc<dyn Witness>,
    /// What went wrong last, until it goes well.
    trouble: Mutex<Option<String>>,
    served: Mutex<Option<Served>>,
}

/// What is served.
struct Served {
    /// Where it came from.
    place: String,
    /// In PEM.
    certificate: String,
    /// In Unix seconds.
    ends: i64,
}

impl Certificates {
    /// No certificate yet.
    pub fn new(clock: Clock, witness: Arc<dyn Witness>) -> Arc<Self> {
        Arc::new(Self {
            resolver: Arc::default(),
            bundle: watch::channel(String::new()).0,
            clock,
            witness,
            trouble: Mutex::default(),
            served: Mutex::default(),
        })
    }

    /// For the server.
    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// All authorities to trust, in PEM; empty until there are some.
    pub fn bundle(&self) -> Receiver<String> {
        self.bundle.subscribe()
    }

    /// Why requests cannot be served, or none.
    pub fn missing(&self) -> Option<String> {
        if self.resolver.is_loaded() {
            return None;
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(trouble.unwrap_or_else(|| "the webhook certificate is not loaded yet".to_owned()))
    }

    /// Looks again and again, until `stop` is true.
    pub async fn keep(self: Arc<Self>, source: Source, registrar: Arc<Registrar>, mut stop: Receiver<bool>) {
        let mut keeper = Keeper::new(source);
        loop {
            let wait = self.look(&mut keeper, &registrar).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Looks once, and gives how long to wait for the next time.
    async fn look(&self, keeper: &mut Keeper, registrar: &Registrar) -> Duration {
        let every = keeper.every();
        let looked = match keeper {
            Keeper::Folder { folder, place, handover } => self.mounted(folder, place, handover, registrar).await,
            Keeper::Managed(managed) => self.managed(managed, registrar).await,
        };
        let wait = match looked {
            Ok(true) => SOON.min(every),
            Ok(false) => every,
            Err(_) => SOON,
        };
        self.tell(looked.err().or_else(|| self.expired()));
        wait
    }

    /// Tells of a trouble once, by log and event; the event can do without what comes and goes by itself.
    fn tell(&self, error: Option<Error>) {
        let text = error.as_ref().map(ToString::to_string);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(error), Some(text), true) = (&error, &text, *trouble != text) {
            warn!(%error, reason = error.reason(), "certificates");
            if matches!(error, Error::Certificate { .. }) {
                self.witness.announce(error.reason(), text.clone());
            }
        }
        *trouble = text;
    }

    /// Why API servers refuse what is served, if they do.
    fn expired(&self) -> Option<Error> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let Served { place, ends, .. } = served.as_ref().filter(|served| served.ends <= (self.clock)())?;
        let why = format!("the certificate has expired, in Unix seconds at {ends}: API servers refuse it; renew it");
        Some(Error::Certificate { place: place.clone(), why })
    }

    /// Serves a certificate from now on, if it is another than before.
    fn serve(&self, place: &str, certificate: &str, key: &str) -> Result<(), Error> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.as_ref().is_some_and(|before| before.certificate == certificate) {
            return Ok(());
        }
        let ends = self.resolver.serve(place, certificate, key)?;
        *served = Some(Served { place: place.to_owned(), certificate: certificate.to_owned(), ends });
        self.witness.certificate(ends);
        info!(place, ends, "serves another webhook certificate");
        Ok(())
    }

    fn trust(&self, bundle: String) {
        self.bundle.send_if_modified(|before| {
            let changed = *before != bundle;
            *before = bundle;
            changed
        });
    }

    /// Reads the folder; a certificate of another authority waits until that is trusted. Gives whether to look again soon.
    async fn mounted(
        &self,
        folder: &Dir,
        place: &str,
        handover: &mut Handover,
        registrar: &Registrar,
    ) -> Result<bool, Error> {
        let now = (self.clock)();
        handover.hear(folder::read(folder, place)?, now);
        if handover.former.as_ref().is_some_and(|(_, since)| now.abs_diff(*since) >= 600) {
            handover.former = None;
        }
        if let Some((candidate, since)) = &handover.candidate {
            let first = handover.current.is_none();
            let same = handover.current.as_ref().is_some_and(|current| current.authority == candidate.authority);
            self.trust(handover.bundle());
            let ended = {
                let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
                served.as_ref().is_some_and(|served| served.ends <= now)
            };
            let waited = now.abs_diff(*since) >= IMPATIENCE;
            if !(first || same || ended || waited || registrar.trusted(&candidate.authority).await?) {
                return Ok(true);
            }
            self.serve(place, &candidate.certificate, &candidate.key)?;
            handover.served(now);
        }
        self.trust(handover.bundle());
        Ok(false)
    }

    /// Reads the Secret, makes it when there is none, and rotates as the leader. Gives whether to look again soon.
    async fn managed(&self, managed: &mut Managed, registrar: &Registrar) -> Result<bool, Error> {
        let Managed { stored, names, lifetimes, leading, known } = managed;
        let now = (self.clock)();
        // In fixed words: a reader of PEM quotes the lines of a key that it cannot read.
        let unmade = |_: rcgen::Error| Error::Certificate {
            place: stored.place(),
            why: "its authority or names cannot be used to make a certificate; delete the Secret, it is made anew"
                .to_owned(),
        };
        let Some((state, version)) = stored.load().await? else {
            if registrar.withdrawn().await? {
                let why = "webhooks were taken back; start the operator anew to have them again".to_owned();
                return Err(Error::Certificate { place: stored.place(), why });
            }
            // What everybody trusts already comes back; a new authority would be served before anybody trusts it.
            let state = match known.as_deref().cloned() {
                Some(state) => state,
                None => State::new(names.clone(), now, lifetimes).map_err(unmade)?,
            };
            let made = stored.make(&state).await?;
            info!(place = stored.place(), made, remembered = known.is_some(), "the webhook certificate was missing");
            // Another replica's may be the one that is there: read, not assumed.
            return Ok(true);
        };
        // Forgotten while it cannot be used, so that a new one is made once it is deleted.
        *known = None;
        self.serve(&stored.place(), &state.leaf.certificate, &state.leaf.key)?;
        self.trust(state.bundle());
        *known = Some(Box::new(state.clone()));
        if !*leading.borrow() {
            return Ok(false);
        }
        let injected = state.incoming.is_some() && registrar.trusted(&state.bundle()).await?;
        let step = state.next(names, now, injected, lifetimes);
        if step == Step::Wait {
            return Ok(state.incoming.is_some());
        }
        let next = state.after(step, names, now, lifetimes).map_err(unmade)?;
        let written = stored.replace(&next, &version).await?;
        info!(?step, written, "the webhook certificates are rotated");
        Ok(true)
    }
}

/// A source, and what is remembered of it.
enum Keeper {
    Folder { folder: Dir, place: String, handover: Handover },
    Managed(Managed),
}

struct Managed {
    stored: Stored,
    names: Vec<String>,
    lifetimes: Lifetimes,
    leading: Receiver<bool>,
    /// What was read last and could be served.
    known: Option<Box<State>>,
}

impl Keeper {
    fn new(source: Source) -> Self {
        match source {
            Source::Folder { folder, place } => Self::Folder { folder, place, handover: Handover::default() },
            Source::Managed { client, namespace, names, lifetimes, leading } => {
                let stored = Stored::new(client, &namespace);
                Self::Managed(Managed { stored, names, lifetimes, leading, known: None })
            }
        }
    }

    /// Between two looks: often enough that each replica serves a new certificate long before trust in the old one ends.
    fn every(&self) -> Duration {
        match self {
            Self::Folder { .. } => EVERY,
            Self::Managed(managed) => EVERY.min(managed.lifetimes.overlap / 4).max(Duration::from_millis(200)),
        }
    }
}

#[cfg(test)]
mod tests;

/// Certificates for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::{Lifetimes, State};

    /// A certificate for `s.own.svc`, its key, and who signed it, in PEM.
    pub(crate) struct Made {
        pub(crate) certificate: String,
        pub(crate) key: String,
        pub(crate) authority: String,
    }

    /// One that is valid now.
    pub(crate) fn made() -> Made {
        made_at(time::OffsetDateTime::now_utc().unix_timestamp())
    }

    /// One that was made then, in Unix seconds.
    pub(crate) fn made_at(now: i64) -> Made {
        let state = State::new(vec!["s.own.svc".to_owned()], now, &Lifetimes::default());
        let State { leaf, authority, .. } = state.unwrap_or_else(|error| panic!("{error}"));
        Made { certificate: leaf.certificate, key: leaf.key, authority: authority.certificate }
    }
}
