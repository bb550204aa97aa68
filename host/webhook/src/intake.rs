//! The body of a request: room for it is taken before a byte is read, and then it has to come at a pace.
//!
//! Room that is held by who does not send is missing to reviews that users wait for. So a body that stops, or drips, is
//! given up long before its deadline, and sooner when somebody waits for the room.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::budget::{Budget, Peer, Share};

/// So long a body may stop, or come slower than `RATE`: a lost packet is sent again several times within this.
const PATIENCE: Duration = Duration::from_secs(2);
/// And so long when somebody waits for the room: a lost packet is sent again within 200 ms or so.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked at.
const STEP: Duration = Duration::from_millis(100);
/// Bytes in a second that have to come on average.
const RATE: u128 = 64 * 1024;

/// What the API server is told when a body is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the body is larger than {limit} bytes; send less at once")]
    TooLarge { limit: usize },
    #[error("there was no room for the body in time, since other requests hold it; try again")]
    Busy,
    #[error("the body did not come in time; send it at once")]
    Late,
    #[error("the body ends too early; send as much as was announced")]
    Broken,
}

/// Reads a body. Its room in the budget is given back when the share is dropped.
pub(crate) async fn read<B>(
    body: B,
    limit: usize,
    (budget, peer): (&Budget, Option<Peer>),
    deadline: Instant,
) -> Result<(Bytes, Share<'_>), Unread>
where
    B: Body<Data = Bytes>,
{
    // API servers always announce the length; who does not may send as much as is allowed.
    let announced = body.size_hint().exact().map(|announced| usize::try_from(announced).unwrap_or(usize::MAX));
    let most = announced.unwrap_or(limit);
    if most > limit {
        return Err(Unread::TooLarge { limit });
    }
    let share = timeout_at(deadline, budget.take(peer, most)).await.map_err(|_| Unread::Busy)?;
    // In one piece when the length is known: memory is used by what comes, not by what was announced.
    let space = BytesMut::with_capacity(announced.unwrap_or_default());
    let body = timeout_at(deadline, collect(body, space, limit, budget)).await.map_err(|_| Unread::Late)??;
    Ok((body, share))
}

async fn collect<B>(body: B, mut space: BytesMut, limit: usize, budget: &Budget) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let began = Instant::now();
    let mut last = began;
    let mut looks = interval(STEP);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // The body first: when this host was late, what has come counts, and not how long nobody looked.
            biased;
            frame = body.frame() => match frame {
                None => return Ok(space.freeze()),
                Some(Err(_)) => return Err(Unread::Broken),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    if data.len() > limit.saturating_sub(space.len()) {
                        return Err(Unread::TooLarge { limit });
                    }
                    if !data.is_empty() {
                        space.extend_from_slice(&data);
                        last = Instant::now();
                    }
                }
            },
            _ = looks.tick() => {
                let patience = if budget.is_short() { SHORT_PATIENCE } else { PATIENCE };
                if last.elapsed() >= patience || began.elapsed() >= patience && drips(space.len(), began.elapsed()) {
                    return Err(Unread::Late);
                }
            }
        }
    }
}

/// Whether so much in so long is too slow.
fn drips(bytes: usize, elapsed: Duration) -> bool {
    u128::try_from(bytes).is_ok_and(|bytes| bytes * 1000 < elapsed.as_millis() * RATE)
}
