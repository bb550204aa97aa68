//! Reviews over HTTPS: the operator's webhook against a constant, and against the same judgement without a sandbox.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    CONNECTIONS,
    keys::{Folder, url},
    load::{Asked, Keys, Load},
    reviews,
};
use crate::{
    Error,
    cluster::{
        contenders::{operator::Operator, process::free_address},
        stage::{HOME, Stage, until},
    },
    measure::{Figure, Scale, number, percentile},
    part::Server,
};

/// The operator, and where its webhooks are.
pub(super) struct Ours {
    pub(super) operator: Operator,
    pub(super) address: SocketAddr,
    /// Who vouches for the certificate of its webhooks, in PEM.
    pub(super) authorities: Vec<u8>,
}

impl Ours {
    /// Starts it and waits until it has registered its webhooks.
    pub(super) async fn start(stage: &Stage, more: &[&str]) -> Result<Self, Error> {
        // The certificate is made for the address, so it has to be known before.
        let address = free_address()?;
        let (bind, url) = (address.to_string(), url(address, ""));
        let flags = ["--webhooks", "on", "--webhook-bind-address", &bind, "--webhook-url", &url];
        let (operator, _) = Operator::start(stage, &[&flags, more].concat()).await?;
        let authorities =
            until("the certificate", Duration::from_millis(100), async || authorities(stage).await).await?;
        let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        until("the webhooks", Duration::from_millis(100), async || {
            Ok(stage.get(configurations).await?.contains(reviews::VALIDATE).then_some(()))
        })
        .await?;
        Ok(Self { operator, address, authorities })
    }
}

/// Who vouches for the webhooks' certificate.
async fn authorities(stage: &Stage) -> Result<Option<Vec<u8>>, Error> {
    let Ok(secret) = stage.get(&format!("/api/v1/namespaces/{HOME}/secrets/webhook-server-cert")).await else {
        return Ok(None);
    };
    let secret: Value = serde_json::from_str(&secret)?;
    let encoded = secret.pointer("/data/ca.crt").and_then(Value::as_str);
    Ok(encoded.and_then(|encoded| STANDARD.decode(encoded).ok()))
}

pub(super) async fn run(
    stage: &Stage,
    ours: &Ours,
    [constant, native]: [&Server; 2],
    folder: &Folder,
    scale: Scale,
    report: &mut impl FnMut(Figure),
) -> Result<(), Error> {
    let keys = |authorities| Keys { authorities, client: None };
    let own = keys(folder.authorities()?);
    let mut loads = [
        Load::open(ours.address, &keys(ours.authorities.clone()), CONNECTIONS).await?,
        Load::open(constant.address, &own, CONNECTIONS).await?,
        Load::open(native.address, &own, CONNECTIONS).await?,
    ];
    let las = reviews::stored(stage, &reviews::las()?).await?;
    let [ours, _, native] = &mut loads;
    same(ours, native, &las).await?;
    for bad in reviews::bad(&las) {
        same(ours, native, &bad).await?;
    }
    let asked = Asked { request: reviews::review(&las).into(), status: "HTTP/1.1 200", says: "\"allowed\":true" };
    let round = scale.of(Duration::from_secs(2), Duration::from_millis(100));
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=scale.rounds() {
        let [ours, constant, native] = &mut loads;
        rounds.push([
            ours.run(&asked, round).await?,
            constant.run(&asked, round).await?,
            native.run(&asked, round).await?,
        ]);
    }
    let rounds = rounds.get(1..).unwrap_or_default();
    let rate = |took: &Vec<f64>| number(took.len()) / round.as_secs_f64();
    let p99 = |took: &Vec<f64>| percentile(took, 0.99) / 1e3;
    let rates: Vec<_> = rounds.iter().map(|round| round.each_ref().map(rate)).collect();
    let constant: Vec<_> = rates.iter().map(|[ours, constant, _]| (*ours, *constant)).collect();
    let native: Vec<_> = rates.iter().map(|[ours, _, native]| (*ours, *native)).collect();
    let slowest: Vec<_> = rounds.iter().map(|[ours, constant, _]| (p99(ours), p99(constant))).collect();
    report(Figure::of("admit-https", "requests/s", &constant));
    report(Figure::of("admit-https-native", "requests/s", &native));
    report(Figure::of("admit-https-p99", "ms", &slowest));
    Ok(())
}

/// Fails unless both webhooks answer the same about an object.
async fn same(ours: &mut Load, native: &mut Load, object: &Value) -> Result<(), Error> {
    let review = reviews::review(object);
    let (_, ours) = ours.once(&review).await?;
    let (_, native) = native.once(&review).await?;
    if serde_json::from_str::<Value>(&ours)? == serde_json::from_str::<Value>(&native)? {
        return Ok(());
    }
    Err(Error::Unexpected(format!("the operator's webhook answers {ours}\nand the native one {native}")))
}
