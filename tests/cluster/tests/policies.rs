//! Ring api: policies reach a stand-in for CAS, over real TLS.
#![cfg(test)]

use std::time::Duration;

use cluster::stage::{Operator, Stage, soon, until};
use serde_json::{Value, json};
use stand_in_cas::{Mode, SIGNED_SESSIONS, StandIn, encrypt};
// In every policy, and nowhere else.
use test_support::canary::{MARK as SECRET, is_told};

const POLICIES: &str = "cas.scone.cloud/v1beta1";
const TRUST: &str = "cas.scone.cloud/trust";
/// The form of an Ed25519 key; the stand-in verifies no signature.
const SIGNER: &str = "MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";

fn text(session: &str) -> String {
    format!("name: {session}\nversion: \"0.3\"\nsecrets:\n- {{name: key, kind: ascii, value: {SECRET}}}\n")
}

/// A policy that is signed, in form.
fn signed(name: &str, policy: &str, cas: &StandIn, trust: &str) -> Value {
    let signature = "ab".repeat(32) + &format!("{:064x}", policy.len());
    json!({"apiVersion": POLICIES, "kind": "SignedPolicy",
        "metadata": {"name": name, "namespace": "default", "annotations": {TRUST: trust}},
        "spec": {"casAddress": cas.url(), "policy": policy, "signatures": [{"signer": SIGNER, "signature": signature}]}})
}

/// Believes exactly this server.
fn pin(cas: &StandIn) -> String {
    format!("sha256:{}", cas.certificate_sha256())
}

/// An operator that may ask this server: without a word of an administrator it asks none of its own machine.
async fn operator_beside(stage: &Stage, cas: &StandIn) -> Operator {
    let detour = format!("localhost:{port}=127.0.0.1:{port}", port = cas.port());
    stage.operator(&["--connect-to", &detour]).await
}

/// Waits until for a while nothing has been written, and no server been asked.
async fn settled(stage: &Stage, cas: &StandIn) {
    soon("a settled operator", || async {
        let asked = cas.counts();
        stage.quiet(Duration::from_secs(2)).await.filter(|()| cas.counts() == asked)
    })
    .await;
}

/// The status of a policy, once it has come to this.
async fn reached(stage: &Stage, plural: &str, name: &str, wanted: &str) -> Value {
    soon(&format!("{name} in state {wanted}"), || async {
        let policy = stage.get(POLICIES, plural, Some("default"), name).await?;
        (policy["status"]["state"] == wanted).then(|| policy["status"].clone())
    })
    .await
}

#[tokio::test]
async fn signed_policies_are_registered_each_after_its_namespace_once_and_without_a_word_of_them_elsewhere() {
    let (stage, cas) = (Stage::with(&["signed-policy"]).await, StandIn::start().await.unwrap());
    let operator = operator_beside(&stage, &cas).await;
    stage.apply_value(&signed("app", &text("team/app"), &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
    reached(&stage, "signedpolicies", "app", "WAITING").await;
    stage.apply_value(&signed("team", &text("team"), &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
    let team = reached(&stage, "signedpolicies", "team", "REGISTERED").await;
    reached(&stage, "signedpolicies", "app", "REGISTERED").await;
    let sent = || cas.counts().get(&format!("PUT {SIGNED_SESSIONS}")).copied();
    assert_eq!(sent(), Some(2), "{:?}", cas.counts());

    let hash = team["hash"].as_str().unwrap();
    let next = format!("{}predecessor: {hash}\n", text("team"));
    stage.apply_value(&signed("team", &next, &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
    soon("the update's hash", || async {
        let policy = stage.get(POLICIES, "signedpolicies", Some("default"), "team").await?;
        (policy["status"]["state"] == "REGISTERED" && policy["status"]["predecessor"] == hash).then_some(())
    })
    .await;
    assert_eq!(sent(), Some(3), "{:?}", cas.counts());

    // Events come after the status that they are about.
    settled(&stage, &cas).await;
    let told =
        async || stage.list("events.k8s.io/v1", "events").await.unwrap().to_string() + &format!("{:?}", operator.log());
    let names = |told: &String| told.contains("signedpolicies") || told.contains("SignedPolicy");
    let told = until("events and the log", told, names).await;
    let status = reached(&stage, "signedpolicies", "team", "REGISTERED").await.to_string();
    assert!(!is_told(&told) && !is_told(&status));
    operator.stop().await;

    let again = operator_beside(&stage, &cas).await;
    stage.delete(POLICIES, "signedpolicies", Some("default"), "app").await;
    soon("its end", || async {
        stage.get(POLICIES, "signedpolicies", Some("default"), "app").await.is_none().then_some(())
    })
    .await;
    again.has_looked(&["signed-policy"]).await;
    settled(&stage, &cas).await;
    assert_eq!((sent(), cas.versions()), (Some(3), 4), "sessions stay, the marker of a provisioned CAS among them");
    again.stop().await;
}

#[tokio::test]
async fn an_encrypted_policy_is_registered() {
    let (stage, cas) = (Stage::with(&["encrypted-policy"]).await, StandIn::start().await.unwrap());
    let operator = operator_beside(&stage, &cas).await;
    let policy = json!({"apiVersion": POLICIES, "kind": "EncryptedPolicy",
        "metadata": {"name": "hidden", "namespace": "default", "annotations": {TRUST: pin(&cas)}},
        "spec": {"casAddress": cas.url(), "policy": encrypt(&text("hidden")), "encryptionKey": cas.encryption_key()}});
    stage.apply_value(&policy, POLICIES, "encryptedpolicies").await;
    reached(&stage, "encryptedpolicies", "hidden", "REGISTERED").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_believed_gets_nothing_and_the_way_to_believe_it_is_told() {
    let (stage, cas) = (Stage::with(&["signed-policy"]).await, StandIn::start().await.unwrap());
    let operator = operator_beside(&stage, &cas).await;
    stage.apply_value(&signed("team", &text("team"), &cas, "system"), POLICIES, "signedpolicies").await;
    let status = reached(&stage, "signedpolicies", "team", "UNTRUSTED").await;
    assert!(status.to_string().contains(cas.certificate_sha256()), "{status:#}");
    settled(&stage, &cas).await;
    assert!(cas.counts().is_empty(), "{:?}", cas.counts());

    stage.apply_value(&signed("team", &text("team"), &cas, "first-use"), POLICIES, "signedpolicies").await;
    reached(&stage, "signedpolicies", "team", "REGISTERED").await;
    cas.set_mode(Mode::WrongCertificate);
    stage.apply_value(&signed("other", &text("other"), &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
    let status = reached(&stage, "signedpolicies", "other", "UNTRUSTED").await;
    assert!(status.to_string().contains(cas.wrong_certificate_sha256()), "{status:#}");
    operator.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_cas_is_told_and_it_is_asked_again() {
    let (stage, cas) = (Stage::with(&["signed-policy"]).await, StandIn::start().await.unwrap());
    let operator = operator_beside(&stage, &cas).await;
    cas.set_mode(Mode::Refuses);
    stage.apply_value(&signed("team", &text("team"), &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
    let status = reached(&stage, "signedpolicies", "team", "REFUSED").await;
    assert!(status.to_string().contains("NotAllowed"), "{status:#}");
    for (mode, name) in [(Mode::Failing, "failing"), (Mode::Garbage, "garbage")] {
        cas.set_mode(mode);
        stage.apply_value(&signed(name, &text(name), &cas, &pin(&cas)), POLICIES, "signedpolicies").await;
        reached(&stage, "signedpolicies", name, "UNREACHABLE").await;
    }
    cas.set_mode(Mode::Normal);
    reached(&stage, "signedpolicies", "failing", "REGISTERED").await;
    operator.stop().await;
}
