//! New LAS written through the API server, judged in turns by the operator's webhook, the native one, a policy, and nobody.

use std::{net::SocketAddr, time::Duration};

use ::cluster::Identity;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    CONNECTIONS,
    judges::Judge,
    load::{Asked, Keys, Load},
    reviews,
};
use crate::{
    Error,
    cluster::stage::{Stage, until},
    measure::{Figure, Scale, number},
};

pub(super) async fn run(
    stage: &Stage,
    judges: &[Judge; 4],
    scale: Scale,
    report: &mut impl FnMut(Figure),
) -> Result<(), Error> {
    let (address, keys) = access(stage)?;
    let mut load = Load::open(address, &keys, CONNECTIONS).await?;
    let las = reviews::las()?;
    let bad = reviews::bad(&las);
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds() {
        let mut rates = [0.0; 4];
        for (judge, rate) in judges.iter().zip(&mut rates) {
            judge.register(stage).await?;
            effective(&mut load, judge, &bad).await?;
            *rate = measured(&mut load, &las, scale).await?;
            judge.remove(stage).await?;
        }
        rounds.push(rates);
    }
    let of = |pair: fn(&[f64; 4]) -> (f64, f64)| rounds.iter().map(pair).collect::<Vec<_>>();
    report(Figure::of("admit-api-native", "requests/s", &of(|[ours, native, ..]| (*ours, *native))));
    report(Figure::of("admit-api-policy", "requests/s", &of(|[ours, _, policy, _]| (*ours, *policy))));
    report(Figure::of("admit-api-nobody", "requests/s", &of(|[ours, .., nobody]| (*ours, *nobody))));
    Ok(())
}

/// Requests a second.
async fn measured(load: &mut Load, las: &Value, scale: Scale) -> Result<f64, Error> {
    let (warm, round) = scale.of((500, 2_000), (50, 100));
    let asked = Asked { request: reviews::creation(las).into(), status: "HTTP/1.1 201", says: "\"kind\":\"LAS\"" };
    load.run(&asked, Duration::from_millis(warm)).await?;
    let round = Duration::from_millis(round);
    Ok(number(load.run(&asked, round).await?.len()) / round.as_secs_f64())
}

/// Waits until this judge, and no other, is asked: it refuses every bad LAS, and nobody refuses none.
async fn effective(load: &mut Load, judge: &Judge, bad: &[Value]) -> Result<(), Error> {
    let what = "a judge";
    let mut missed = String::new();
    let found = until(what, Duration::from_millis(100), async || {
        for las in bad {
            let (head, body) = load.once(&reviews::creation(las)).await?;
            let refused = head.starts_with("HTTP/1.1 4");
            if !refused && !head.starts_with("HTTP/1.1 201") {
                return Err(Error::Unexpected(format!("the API server answers {head}\n\n{body}")));
            }
            if refused != judge.refuses() {
                missed = format!("{} is not what judges {las}: {head}\n\n{body}", judge.name);
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    match found.await {
        Err(Error::Late(_)) => Err(Error::Unexpected(missed)),
        found => found,
    }
}

/// Where the API server is, and the keys of somebody who may do everything.
fn access(stage: &Stage) -> Result<(SocketAddr, Keys), Error> {
    let text = std::fs::read_to_string(stage.ring.kubeconfig(&Identity::admin("writer"))?)?;
    let config: Value = serde_json::from_str(&text)?;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let data = |pointer: &str| STANDARD.decode(text(pointer)).unwrap_or_default();
    let address = text("/clusters/0/cluster/server").trim_start_matches("https://").parse();
    let address = address.map_err(|_| Error::Unexpected("the kubeconfig names no address".to_owned()))?;
    let client = (data("/users/0/user/client-certificate-data"), data("/users/0/user/client-key-data"));
    let keys = Keys { authorities: data("/clusters/0/cluster/certificate-authority-data"), client: Some(client) };
    Ok((address, keys))
}
