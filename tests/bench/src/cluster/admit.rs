//! Validations of LAS over HTTPS, compared to the same server answering a constant.

use std::{net::TcpListener, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use las::LasModule;
use serde_json::{Value, json};

use super::{
    load::Load,
    operator::Operator,
    stage::{HOME, Stage, send, tell, until},
};
use crate::{
    Error,
    measure::{Figure, number, percentile},
    subject,
};

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);

/// Where the module is asked, and where the server answers without asking anybody.
const PATHS: [&str; 2] = ["/validate-base-scone-cloud-v1beta1-las", "/probe"];

pub(crate) async fn run(stage: &Stage, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    tell("validations ...");
    let object = stored(stage).await?;
    // The certificate is made for the address, so it has to be known before. Held only until here: the port is free again.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let (bind, url) = (address.to_string(), format!("https://{address}"));
    let flags = ["--webhooks", "on", "--webhook-bind-address", &bind, "--webhook-url", &url];
    let (_operator, _) = Operator::start(stage, &flags).await?;
    let authorities = until("the certificate", Duration::from_millis(100), async || authorities(stage).await).await?;
    let mut load = Load::open(address, &authorities, CONNECTIONS).await?;
    let [validate, constant] = PATHS.map(|path| request(path, &object));
    for request in [&validate, &constant] {
        load.run(request, ROUND).await?;
    }
    let (mut rates, mut slowest) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (value, yardstick) = (load.run(&validate, ROUND).await?, load.run(&constant, ROUND).await?);
        let rate = |took: &[f64]| number(took.len()) / ROUND.as_secs_f64();
        let p99 = |took: &[f64]| percentile(took, 0.99) / 1e3;
        rates.push((rate(&value), rate(&yardstick)));
        slowest.push((p99(&value), p99(&yardstick)));
    }
    report(Figure::of("admit-https", "requests/s", &rates));
    report(Figure::of("admit-https-p99", "ms", &slowest));
    Ok(())
}

/// Who vouches for the webhooks' certificate, in PEM.
async fn authorities(stage: &Stage) -> Result<Option<Vec<u8>>, Error> {
    let Ok(secret) = stage.get(&format!("/api/v1/namespaces/{HOME}/secrets/webhook-server-cert")).await else {
        return Ok(None);
    };
    let secret: Value = serde_json::from_str(&secret)?;
    let encoded = secret.pointer("/data/ca.crt").and_then(Value::as_str);
    Ok(encoded.and_then(|encoded| STANDARD.decode(encoded).ok()))
}

/// A new LAS as the API server would store it.
async fn stored(stage: &Stage) -> Result<Value, Error> {
    let parent: Value = serde_json::from_slice(&subject::native_snapshot::<LasModule>(subject::LAS_4K)?.parent)?;
    let las = json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "las"},
        "spec": parent.get("spec")});
    let path = "/apis/base.scone.cloud/v1beta1/las?dryRun=All&fieldManager=kubectl-create";
    let stored = send(&stage.client, "POST", path, "application/json", las.to_string().into_bytes()).await?;
    Ok(serde_json::from_str(&stored)?)
}

/// The review of it, as an API server sends it.
fn request(path: &str, object: &Value) -> Arc<[u8]> {
    let resource = json!({"group": "base.scone.cloud", "version": "v1beta1", "resource": "las"});
    let kind = json!({"group": "base.scone.cloud", "version": "v1beta1", "kind": "LAS"});
    let review = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "requestKind": kind,
        "requestResource": resource, "name": "las", "operation": "CREATE", "oldObject": null, "dryRun": false, "object": object,
        "userInfo": {"username": "admin", "uid": "u", "groups": ["system:masters", "system:authenticated"]},
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"},
    });
    let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": review}).to_string();
    let head = format!(
        "POST {path}?timeout=10s HTTP/1.1\r\nhost: webhooks\r\nuser-agent: kube-apiserver-admission\r\naccept: application/json, \
         */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes().into()
}
