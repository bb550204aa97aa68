//! Every way that a policy can go.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use operator_guest::QueryFailure;
use serde_json::json;

use super::{CERTIFICATE, Fault, Host, OTHER_CERTIFICATE, POLICY, ed25519, host, other, sign_again};

pub(crate) const IN_NAMESPACE: &str = "name: team/app\n";

pub(crate) fn settled(policy: &str) -> Host {
    let mut host = host(policy);
    host.settle();
    host
}

/// One that is registered.
pub(crate) fn registered() -> Host {
    let host = settled(POLICY);
    assert_eq!(host.verdict(), "REGISTERED Registered");
    host
}

/// One for which something is wrong from the start.
pub(crate) fn with(prepare: impl FnOnce(&mut Host)) -> Host {
    let mut host = host(POLICY);
    prepare(&mut host);
    host.settle();
    host
}

pub(crate) fn update(host: &mut Host) -> String {
    let policy = format!("{POLICY}predecessor: {}\n", host.hash());
    sign_again(host, &policy);
    policy
}

pub(crate) fn waits_for_a_resource() -> Host {
    let mut host = host(IN_NAMESPACE);
    host.others = vec![other("parent", "team", "PENDING"), other("else", "other", "REGISTERED")];
    host.settle();
    host
}

pub(crate) fn waits_for_a_session() -> Host {
    settled(IN_NAMESPACE)
}

/// Its namespace was there before it.
pub(crate) fn follows_its_namespace() -> Host {
    let mut host = host(IN_NAMESPACE);
    host.cas.hold("name: team\n");
    host.settle();
    host
}

pub(crate) fn name_taken() -> Host {
    with(|host| drop(host.cas.hold("name: team\nversion: \"0.2\"\n")))
}

pub(crate) fn outdated() -> Host {
    let mut host = registered();
    update(&mut host);
    host.cas.hold("name: team\nother: true\n");
    host.settle();
    host
}

pub(crate) fn predecessor_missing() -> Host {
    settled(&format!("{POLICY}predecessor: {}\n", "0a".repeat(32)))
}

pub(crate) fn updated_elsewhere() -> Host {
    let mut host = registered();
    host.cas.hold("name: team\nnewer: true\n");
    host.settle();
    host
}

pub(crate) fn vanished() -> Host {
    let mut host = registered();
    host.cas.sessions.clear();
    host.settle();
    host
}

pub(crate) fn reverted() -> Host {
    let mut host = registered();
    let old = host.cas.sessions.clone();
    update(&mut host);
    host.settle();
    host.cas.sessions = old;
    host.settle();
    host
}

pub(crate) fn refused(status: u16) -> Host {
    let mut host = host(POLICY);
    host.cas.fault = Fault::Upload(status);
    host.settle();
    host
}

pub(crate) fn silent(failure: QueryFailure) -> Host {
    with(|host| host.cas.fault = Fault::Silent(failure))
}

pub(crate) fn garbage(body: &[u8]) -> Host {
    with(|host| host.cas.fault = Fault::Garbage(body.to_vec()))
}

pub(crate) fn untrusted() -> Host {
    with(|host| host.cas.is_public = false)
}

pub(crate) fn pinned_wrongly() -> Host {
    with(|host| host.annotate("cas.scone.cloud/trust", &format!("sha256:{OTHER_CERTIFICATE}")))
}

pub(crate) fn vouched() -> Host {
    with(|host| {
        host.cas.is_public = false;
        host.annotate("cas.scone.cloud/trust", "secret:cas-ca/ca.crt");
    })
}

pub(crate) fn no_secret() -> Host {
    with(|host| {
        host.cas.fault = Fault::Silent(QueryFailure::NotFound("Secret default/cas-ca".to_owned()));
        host.annotate("cas.scone.cloud/trust", "secret:cas-ca/ca.crt");
    })
}

pub(crate) fn first_use() -> Host {
    with(|host| {
        host.cas.is_public = false;
        host.annotate("cas.scone.cloud/trust", "first-use");
    })
}

pub(crate) fn invalid_spec() -> Host {
    with(|host| host.edit("signatures", json!([])))
}

pub(crate) fn invalid_annotation() -> Host {
    with(|host| host.annotate("cas.scone.cloud/trust", "always"))
}

pub(crate) fn verified(signatures: serde_json::Value) -> Host {
    with(|host| {
        host.annotate("cas.scone.cloud/signed-message", "policy");
        host.edit("signatures", signatures);
    })
}

/// In `Base58Check`, and of no kind that its length tells.
pub(crate) fn unknown_signer() -> Host {
    verified(json!([{"signer": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "signature": "00".repeat(64)}]))
}

/// Every way that a policy can go.
pub(crate) fn all() -> Vec<Host> {
    let mut all = vec![
        registered(),
        waits_for_a_resource(),
        waits_for_a_session(),
        follows_its_namespace(),
        name_taken(),
        outdated(),
        predecessor_missing(),
        updated_elsewhere(),
        vanished(),
        reverted(),
        untrusted(),
        pinned_wrongly(),
        vouched(),
        no_secret(),
        first_use(),
        invalid_spec(),
        invalid_annotation(),
        garbage(b"<html>"),
        verified(json!([ed25519(POLICY)])),
        verified(json!([ed25519("name: other\n")])),
        unknown_signer(),
        silent(QueryFailure::TimedOut),
        silent(QueryFailure::Unreachable("connection refused".to_owned())),
        silent(QueryFailure::Denied("grants.http".to_owned())),
        with(|host| host.annotate("cas.scone.cloud/trust", &format!("sha256:{CERTIFICATE}"))),
    ];
    all.extend([400, 403, 404, 409, 503].map(refused));
    all
}
