//! A pull secret for two thousand namespaces, compared to a bare loop that sends the same Secrets.

use std::time::Duration;

use ::cluster::Identity;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    audit,
    contenders::{AT_ONCE, bare::USER as BARE, operator::Operator},
    stage::{APPLY, HOME, OPERATOR, Stage, send, tell, until},
};
use crate::{
    Error,
    measure::{Figure, Scale, number},
};

const CONFIG: &str = "eyJhdXRocyI6eyJyZWdpc3RyeS5leGFtcGxlLmNvbSI6eyJhdXRoIjoiY205aWIzUTZkRzlyWlc0PSJ9fX0=";

pub(crate) async fn run(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let count = scale.of(2_000, 20);
    tell(&format!("pull-secret-2000: {count} namespaces ..."));
    let namespaces = (0..count).map(|number| async move {
        let name = name(number);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pull": "yes"}}});
        stage.apply(&format!("/api/v1/namespaces/{name}"), &namespace).await
    });
    futures::stream::iter(namespaces).buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())).await?;
    stage.apply(&path(HOME, "source"), &secret("source", HOME, &json!({}))).await?;
    let bare = stage.ring.client(&Identity::admin(BARE)).await?;
    let (operator, _) = Operator::start(stage, &[]).await?;
    let (mut rates, mut writes) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds() {
        let by_hand = format!("bare-{round}");
        let sent = (0..count).map(|number| {
            let (namespace, by_hand, bare) = (name(number), &by_hand, &bare);
            async move {
                let labels = json!({"labels": {"images.banzaicloud.io/owner-uid": "0", "applyset.kubernetes.io/part-of": "nothing"}});
                let body = secret(by_hand, &namespace, &labels).to_string().into_bytes();
                let path = format!("{}?fieldManager={BARE}&force=true", path(&namespace, by_hand));
                send(bare, "PATCH", &path, APPLY, body).await.map(drop)
            }
        });
        futures::stream::iter(sent).buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())).await?;
        let (yardstick, _) = rate(stage, BARE, &by_hand, count)?;

        let copied = format!("copied-{round}");
        distribute(stage, &operator, &copied).await?;
        let (value, sent) = rate(stage, OPERATOR, &copied, count)?;
        rates.push((value, yardstick));
        writes.push((sent / number(count), 1.0));
    }
    report(Figure::of("pull-secret-2000", "namespaces/s", &rates));
    report(Figure::of("pull-secret-writes", "writes", &writes));
    Ok(())
}

/// Lets the operator copy the source, and waits until it has.
async fn distribute(stage: &Stage, operator: &Operator, name: &str) -> Result<(), Error> {
    let wish = json!({"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret", "metadata": {"name": name},
        "spec": {"registry": {"credentials": [{"name": "source", "namespace": HOME}]},
            "target": {"secret": {"name": name}, "namespaces": {"labels": [{"matchLabels": {"pull": "yes"}}]}}}});
    let path = format!("/apis/images.banzaicloud.io/v1alpha1/imagepullsecrets/{name}");
    stage.apply(&path, &wish).await?;
    until("all copies", Duration::from_millis(200), async || {
        let found: Value = serde_json::from_str(&stage.get(&path).await?)?;
        Ok((found.pointer("/status/status").is_some_and(|status| status == "Ready")).then_some(()))
    })
    .await?;
    operator.rest(Duration::from_secs(1)).await
}

/// Namespaces a second that got this Secret, from the arrival of the first request to the answer to the last, and how many requests it took.
fn rate(stage: &Stage, who: &str, secret: &str, count: usize) -> Result<(f64, f64), Error> {
    let written: Vec<_> = audit::named(stage, "secrets", secret);
    let own: Vec<_> = audit::of(&written, who).collect();
    if own.len() < count {
        return Err(Error::Unexpected(format!("{} Secrets {secret} were written, not {count}", own.len())));
    }
    let (first, last) = (own.iter().map(|write| write.received).min(), own.iter().map(|write| write.answered).max());
    let micros = last.unwrap_or_default() - first.unwrap_or_default();
    let seconds = Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64();
    Ok((number(count) / seconds, number(own.len())))
}

fn name(number: usize) -> String {
    format!("team-{number:04}")
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

fn secret(name: &str, namespace: &str, more: &Value) -> Value {
    let mut metadata = json!({"name": name, "namespace": namespace});
    if let (Some(into), Some(more)) = (metadata.as_object_mut(), more.as_object()) {
        into.extend(more.clone());
    }
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": CONFIG}})
}
