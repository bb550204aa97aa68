//! HTTP/1.1 on one connection, and what is done about who dawdles.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::CONNECTION};
use http_body_util::Full;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch::Receiver,
    time::sleep_until,
};

use super::{Seat, Shared, Stage, State, pass};

/// So long the rest of a request is thrown away after its answer, and an idle connection may take to end.
const LAST: Duration = Duration::from_secs(2);

/// What is expected of who asks.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// A header that has begun has to end within this. hyper knows only one time for that and for the next request to
    /// begin, so both are looked after here.
    pub header: Duration,
    /// So long nothing may be asked.
    pub idle: Duration,
    /// An answer has to be taken within this.
    pub answer: Duration,
    /// Largest header, in bytes.
    pub header_bytes: usize,
}

impl Manners {
    fn longest(&self, stage: Stage) -> Option<Duration> {
        match stage {
            Stage::New | Stage::Idle => Some(self.idle),
            Stage::Header => Some(self.header),
            // Whoever judges has limits of its own.
            Stage::Intake | Stage::Work => None,
            Stage::Answer => Some(self.answer),
            Stage::Over => Some(LAST),
        }
    }
}

/// Why a connection is looked at.
enum Call {
    Evicted(Stage),
    Late(Stage),
}

impl Seat {
    /// Answers requests until the other side closes the connection, dawdles, or has to make room, or until `end` and the
    /// answer to what is asked then.
    ///
    /// # Errors
    /// When the connection ended in another way than it should.
    pub async fn speak<I, F, A>(
        mut self,
        stream: I,
        manners: Manners,
        end: impl Future<Output = ()>,
        answer: F,
    ) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin,
        F: Fn(Request<Arriving>) -> A,
        A: Future<Output = Response<Full<Bytes>>>,
    {
        let rest = Arc::new(AtomicBool::new(false));
        let stream = Watched { stream, state: Arc::clone(&self.state), rest: Arc::clone(&rest) };
        let state = &self.state;
        let service = service_fn(|request: Request<Incoming>| {
            pass(state, &[Stage::New, Stage::Idle, Stage::Header], Stage::Intake);
            let request = request.map(|body| Arriving { body, state: Arc::clone(state) });
            let (answer, rest) = (answer(request), &rest);
            async move {
                let answer = answer.await;
                rest.store(answer.headers().get(CONNECTION).is_some_and(|value| value == "close"), Ordering::Relaxed);
                pass(state, &[Stage::Intake, Stage::Work], Stage::Answer);
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(manners.header_bytes);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let (mut end, mut goes) = (pin!(end), false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended.map_err(io::Error::other),
                call = called(&mut self.seen, &manners, goes) => match call {
                    Call::Late(at) => return Err(late(at)),
                    // Nothing was asked yet that could be answered.
                    Call::Evicted(Stage::New | Stage::Header | Stage::Intake | Stage::Over) => return Ok(()),
                    Call::Evicted(_) => {}
                },
                () = end.as_mut(), if !goes => {}
            }
            // An idle connection ends now, and one on which something was asked this very moment after the answer.
            connection.as_mut().graceful_shutdown();
            goes = true;
        }
    }
}

/// Waits until something took too long, or the connection has to make room. Who `goes` already is not sent away again.
async fn called(seen: &mut Receiver<State>, manners: &Manners, goes: bool) -> Call {
    loop {
        let State { stage, since, evicted } = *seen.borrow_and_update();
        if evicted && !goes {
            return Call::Evicted(stage);
        }
        let longest = if goes && stage == Stage::Idle { Some(LAST) } else { manners.longest(stage) };
        let over = async {
            match longest {
                Some(longest) => sleep_until(since + longest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender is held by whoever calls this.
            _ = seen.changed() => {}
            () = over => return Call::Late(stage),
        }
    }
}

fn late(stage: Stage) -> io::Error {
    let text = match stage {
        Stage::Header => "a header did not end in time",
        Stage::Answer => "an answer was not taken in time",
        _ => "nothing was asked for too long",
    };
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// The body of a request, which notes when it has come to its end.
pub struct Arriving {
    body: Incoming,
    state: Shared,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            pass(&self.state, &[Stage::Intake], Stage::Work);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when a request begins to come, and when an answer is sent.
struct Watched<I> {
    stream: I,
    state: Shared,
    /// The request of the last answer may not have been read to its end.
    rest: Arc<AtomicBool>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        if into.filled().len() > before {
            pass(&self.state, &[Stage::New, Stage::Idle], Stage::Header);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        pass(&self.state, &[Stage::Answer], Stage::Idle);
        Poll::Ready(Ok(()))
    }

    /// Ends the way out, and then throws away what still comes of a request that was answered before its end: were the
    /// connection closed on it, the other side would not see the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if !self.rest.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        pass(&self.state, &[Stage::Idle, Stage::Answer, Stage::Header], Stage::Over);
        let mut waste = [0; 8 * 1024];
        loop {
            let mut waste = ReadBuf::new(&mut waste);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut waste))?;
            if waste.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
