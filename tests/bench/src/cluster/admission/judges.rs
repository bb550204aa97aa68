//! Who judges what is written to the API server: nobody, a webhook, or a policy. One at a time is registered.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    https::Ours,
    keys::{Folder, url},
    policy, reviews,
};
use crate::{Error, cluster::stage::Stage, part::Server};

/// What has to be registered for one of them.
pub(super) struct Judge {
    pub(super) name: &'static str,
    /// Where each object is, and the object.
    objects: Vec<(String, Value)>,
}

impl Judge {
    /// Whether anything is refused.
    pub(super) fn refuses(&self) -> bool {
        !self.objects.is_empty()
    }

    pub(super) async fn register(&self, stage: &Stage) -> Result<(), Error> {
        for (path, object) in &self.objects {
            stage.apply(path, object).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(&self, stage: &Stage) -> Result<(), Error> {
        for (path, _) in self.objects.iter().rev() {
            stage.delete(path).await?;
        }
        Ok(())
    }
}

/// The operator, the native webhook, the policy, and nobody.
pub(super) fn all(ours: &Ours, native: &Server, folder: &Folder) -> Result<[Judge; 4], Error> {
    let webhook = |name, address, authorities: &[u8]| {
        let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "bench"}, "webhooks": [{"name": "bench.example.com", "rules": [rule()],
                "clientConfig": {"url": url(address, reviews::VALIDATE), "caBundle": STANDARD.encode(authorities)},
                "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 10}]});
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/bench";
        Judge { name, objects: vec![(path.to_owned(), configuration)] }
    };
    Ok([
        webhook("the operator's webhook", ours.address, &ours.authorities),
        webhook("the native webhook", native.address, &folder.authorities()?),
        Judge { name: "the policy", objects: policy::objects(&rule()) },
        Judge { name: "nobody", objects: Vec::new() },
    ])
}

/// What is judged.
fn rule() -> Value {
    json!({"apiGroups": ["base.scone.cloud"], "apiVersions": ["v1beta1"], "resources": ["las"], "operations": ["CREATE", "UPDATE"],
        "scope": "*"})
}
