//! How requests reach the API server: not faster than it was agreed, not while it asks to wait, and no write without the lease.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::client::Body;
use operator_controller::Fence;
use operator_core::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{BoxError, Layer, Service};
use tracing::warn;

/// When the server asks to wait and does not say for how long.
const PAUSE: Duration = Duration::from_secs(1);
/// It is not asked later than that, whatever it says.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// So many requests a second, and so many at once after a quiet time; and one pause for all when the server asks for one.
pub(crate) struct Pace {
    rate: f64,
    burst: f64,
    state: Mutex<State>,
}

struct State {
    /// Requests that may begin at once.
    tokens: f64,
    at: Instant,
    /// The server wants nothing before.
    pause: Instant,
}

impl Pace {
    /// `rate` requests a second and `burst` at once; a rate of 0 is no limit.
    pub(crate) fn new(rate: u32, burst: u32) -> Arc<Self> {
        let (rate, burst, now) = (f64::from(rate), f64::from(burst.max(1)), Instant::now());
        Arc::new(Self { rate, burst, state: Mutex::new(State { tokens: burst, at: now, pause: now }) })
    }

    /// Takes a turn, or tells when to come back.
    fn take(&self) -> Result<(), Instant> {
        let (mut state, now) = (self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if now < state.pause {
            return Err(state.pause);
        }
        if self.rate <= 0.0 {
            return Ok(());
        }
        state.tokens = (state.tokens + (now - state.at).as_secs_f64() * self.rate).min(self.burst);
        state.at = now;
        if state.tokens >= 1.0 {
            state.tokens -= 1.0;
            return Ok(());
        }
        // At least a millisecond, which is what a timer can tell apart.
        Err(now + Duration::from_secs_f64((1.0 - state.tokens) / self.rate).max(Duration::from_millis(1)))
    }

    /// Heeds an answer that asks to wait.
    fn heed<B>(&self, response: &Response<B>) {
        let code = response.status();
        let after = response.headers().get(RETRY_AFTER);
        if code != StatusCode::TOO_MANY_REQUESTS && !(code == StatusCode::SERVICE_UNAVAILABLE && after.is_some()) {
            return;
        }
        let seconds = after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let wait = seconds.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        let (mut state, until) = (self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now() + wait);
        if until > state.pause {
            state.pause = until;
            warn!(
                code = code.as_u16(),
                wait_ms = wait.as_millis(),
                "the API server asks to wait: no request is sent meanwhile"
            );
        }
    }
}

/// Gives a client its manners.
#[derive(Clone)]
pub(crate) struct Manners {
    pub(crate) pace: Arc<Pace>,
    /// Asked before each write.
    pub(crate) fence: Fence,
    /// An answer begins within so long, also of a server that keeps the connection alive meanwhile.
    pub(crate) answer: Duration,
}

impl<S> Layer<S> for Manners {
    type Service = Mannerly<S>;

    fn layer(&self, inner: S) -> Mannerly<S> {
        Mannerly { inner, manners: self.clone(), wait: None, has_turn: false }
    }
}

/// A client with manners.
pub(crate) struct Mannerly<S> {
    inner: S,
    manners: Manners,
    wait: Option<Pin<Box<Sleep>>>,
    /// A turn was taken, and no request has used it yet.
    has_turn: bool,
}

impl<S, B> Service<Request<Body>> for Mannerly<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while !self.has_turn {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.manners.pace.take() {
                Ok(()) => self.has_turn = true,
                Err(at) => self.wait = Some(Box::pin(sleep_until(at))),
            }
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.has_turn = false;
        if is_write(&request) && !self.manners.fence.may_write() {
            return Box::pin(std::future::ready(Err("this replica does not hold the lease: it writes nothing".into())));
        }
        let (answer, pace) = (self.inner.call(request), Arc::clone(&self.manners.pace));
        let answer = tokio::time::timeout(self.manners.answer, answer);
        Box::pin(async move {
            let response = answer.await.map_err(|_| "the API server did not begin to answer in time")??;
            pace.heed(&response);
            Ok(response)
        })
    }
}

/// Whether a request changes what another replica may be changing. A review stores nothing, and an event says what happened.
fn is_write(request: &Request<Body>) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let path = request.uri().path();
    !reads && !path.ends_with("/selfsubjectaccessreviews") && !path.ends_with("/events")
}

#[cfg(test)]
mod tests {
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;

    /// Sends requests to a server that answers with this code, and tells how many got through at once.
    async fn sent(manners: &Manners, method: Method, code: u16, count: usize) -> Result<usize, BoxError> {
        let answer = move |_: Request<Body>| async move {
            let response = Response::builder().status(code).header(RETRY_AFTER, "7").body(());
            Ok::<_, BoxError>(response.unwrap())
        };
        let mut service = ServiceBuilder::new().layer(manners.clone()).service(tower::service_fn(answer));
        let (start, mut at_once) = (Instant::now(), 0);
        for _ in 0..count {
            let request = Request::builder().method(method.clone()).uri("/api/v1/nodes").body(Body::empty());
            service.ready().await?.call(request.unwrap()).await?;
            at_once += usize::from(start.elapsed() < Duration::from_millis(1));
        }
        Ok(at_once)
    }

    fn manners(rate: u32, burst: u32) -> Manners {
        Manners { pace: Pace::new(rate, burst), fence: Fence::open(), answer: Duration::from_secs(30) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_sent_at_once_and_the_rest_at_its_rate() {
        let (manners, start) = (manners(10, 5), Instant::now());
        assert_eq!(sent(&manners, Method::GET, 200, 25).await.unwrap(), 5);
        assert_eq!(start.elapsed().as_millis() / 100, 20, "two seconds for twenty of them");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        assert_eq!(sent(&manners(0, 1), Method::GET, 200, 1_000).await.unwrap(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_server_asks_to_wait_all_clients_do() {
        let (manners, start) = (manners(1_000, 1_000), Instant::now());
        sent(&manners, Method::GET, 429, 1).await.unwrap();
        sent(&manners.clone(), Method::GET, 200, 2).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_accepts_a_request_and_says_nothing_is_given_up() {
        let silent = |_: Request<Body>| std::future::pending::<Result<Response<()>, BoxError>>();
        let mut service = ServiceBuilder::new().layer(manners(0, 1)).service(tower::service_fn(silent));
        let (start, request) = (Instant::now(), Request::builder().uri("/version").body(Body::empty()).unwrap());
        let late = service.ready().await.unwrap().call(request).await.unwrap_err();
        assert_eq!((start.elapsed().as_secs(), late.to_string().ends_with("in time")), (30, true));
    }

    #[tokio::test]
    async fn behind_a_shut_fence_nothing_is_written_and_everything_can_be_read() {
        let manners = Manners { fence: Fence::shut(), ..manners(0, 1) };
        assert_eq!(sent(&manners, Method::GET, 200, 1).await.unwrap(), 1);
        let refused = sent(&manners, Method::PATCH, 200, 1).await.unwrap_err();
        assert!(refused.to_string().contains("does not hold the lease"), "{refused}");
    }
}
