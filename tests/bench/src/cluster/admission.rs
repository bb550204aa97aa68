//! Validations of LAS, against three yardsticks: a server that answers a constant, the same judgement in a webhook without a sandbox, and a
//! policy that the API server judges itself.

pub(crate) mod constant;
mod https;
mod judges;
mod keys;
mod load;
mod loaded;
pub(crate) mod native;
mod policy;
mod reviews;
mod through;

use serde_json::json;

use self::{https::Ours, keys::Folder};
use super::stage::{HOME, Stage, tell};
use crate::{
    Error,
    measure::{Figure, Scale},
    part::Part,
};

/// Connections that ask at the same time.
const CONNECTIONS: usize = 8;

/// The servers that do not depend on the API server run all the time, in processes of their own; who is not asked costs nothing.
pub(crate) async fn run(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    tell("validations ...");
    let folder = Folder::new()?;
    let [constant, native] = [Part::Constant.server(folder.path())?, Part::Native.server(folder.path())?];
    let ours = Ours::start(stage, &[]).await?;
    https::run(stage, &ours, [&constant, &native], &folder, scale, report).await?;
    tell("validations through the API server ...");
    ours.withdraw(stage).await?;
    let judges = judges::all(&ours, &native, &folder)?;
    through::run(stage, &judges, scale, report).await
}

/// The same while all threads for modules are busy.
pub(crate) async fn run_loaded(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let folder = Folder::new()?;
    let native = Part::Native.server(folder.path())?;
    loaded::run(stage, &native, &folder, scale, report).await
}

impl Ours {
    /// Takes the operator's own registrations back, which it heeds for good: from here on the benchmark registers whom it measures.
    async fn withdraw(&self, stage: &Stage) -> Result<(), Error> {
        let now = k8s_openapi::jiff::Timestamp::now().as_second();
        let mark = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": MARK, "namespace": HOME,
            "annotations": {"operator.scone.cloud/webhooks-withdrawn": now.to_string()}},
            "spec": {"holderIdentity": "bench"}});
        stage.apply(&format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/{MARK}"), &mark).await?;
        for kind in ["mutating", "validating"] {
            stage.delete(&format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations")).await?;
        }
        Ok(())
    }
}

/// The lease that tells operators that webhooks were taken back (`host/webhook/src/registration.rs`).
const MARK: &str = "scone-webhooks-withdrawn";
