//! Who holds the lease, and how it goes from one replica to the next.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Stage;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/scone-system/leases/61d57791.scone.cloud";

/// What a replica asked of its lease, and was given.
#[derive(Debug)]
pub struct Asked {
    /// Who asked.
    pub user: String,
    /// `get`, `create`, `update`.
    pub verb: String,
    /// When the API server received it.
    pub at: Timestamp,
}

impl Asked {
    /// Whether this is a look of somebody.
    pub fn is_look_of(&self, user: &str) -> bool {
        self.user == user && self.verb == "get"
    }

    fn is_write_of(&self, user: &str) -> bool {
        self.user == user && self.verb != "get"
    }
}

impl Stage {
    /// Whether this replica holds the lease.
    pub async fn holder(&self, identity: &str) -> Option<()> {
        let lease = self.read(LEASE).await.ok()?;
        (lease["spec"]["holderIdentity"] == identity).then_some(())
    }

    /// From when on others may take the lease.
    pub async fn lease_end(&self) -> Timestamp {
        let spec = self.read(LEASE).await.unwrap()["spec"].clone();
        let renewed: Timestamp = spec["renewTime"].as_str().unwrap().parse().unwrap();
        renewed + SignedDuration::from_secs(spec["leaseDurationSeconds"].as_i64().unwrap())
    }

    /// What was asked of the lease from the last write of one user, which releases it when it is asked to end, to the first of another, which
    /// takes it.
    pub fn handover(&self, from: &str, to: &str) -> Vec<Asked> {
        let mut events = self.ring().requests();
        let done = |event: &Value| event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
        events.retain(|event| event["objectRef"]["resource"] == "leases" && done(event));
        let mut asked: Vec<Asked> = events.iter().map(asked).collect();
        asked.sort_by_key(|asked| asked.at);
        let taken = asked.iter().position(|asked| asked.is_write_of(to)).unwrap();
        let left = asked.iter().rposition(|asked| asked.is_write_of(from)).unwrap();
        assert!(left < taken, "{from} wrote the lease when {to} had it: {asked:#?}");
        asked.drain(left..=taken).collect()
    }

    /// Fails when the lease was not taken by the first look after it was released.
    pub fn was_handed_over_at_once(&self, from: &str, to: &str) {
        let handover = self.handover(from, to);
        let looks = handover.iter().filter(|asked| asked.is_look_of(to)).count();
        assert_eq!(looks, 1, "the first look after the release takes the lease: {handover:#?}");
    }
}

fn asked(event: &Value) -> Asked {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap();
    Asked {
        user: text("/user/username").to_owned(),
        verb: text("/verb").to_owned(),
        at: text("/requestReceivedTimestamp").parse().unwrap(),
    }
}
