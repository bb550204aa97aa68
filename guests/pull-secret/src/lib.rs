//! The `ImagePullSecret` module: registry credentials as one Secret in every namespace that asks for them.
//!
//! What it makes and how it decides is in `README.md` beside this crate.

mod admission;
mod copies;
mod expiry;
mod metrics;
mod others;
mod select;
mod settings;
mod source;
mod status;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::ResourceExt;
use operator_guest::{
    Budgets, Cause, Desired, Failure, Manifest, Module, NamespaceRule, Request, Settings, Snapshot, Verdict,
    module_with_crd,
};
use scone_api::imagepullsecret::ImagePullSecret;

use crate::{
    copies::{Copies, Wanted},
    settings::PullSecretSettings,
    status::Evidence,
};

/// The module.
pub struct PullSecretModule;

impl Module for PullSecretModule {
    type Parent = ImagePullSecret;

    fn manifest() -> Manifest {
        module_with_crd::<ImagePullSecret>("pull-secret", env!("CARGO_PKG_VERSION"), scone_api::IMAGEPULLSECRET_CRD)
            .description("Copies registry credentials as one Secret into every namespace that asks for them")
            .owns::<Secret>(NamespaceRule::All)
            .reads::<Secret>(NamespaceRule::All, source::FIELDS)
            .reads::<Namespace>(NamespaceRule::All, select::NAMESPACE_FIELDS)
            .reads::<Pod>(NamespaceRule::All, select::POD_FIELDS)
            .webhook_mutate("mimagepullsecret.kb.io", "/mutate-images-banzaicloud-io-v1alpha1-imagepullsecret")
            .webhook_validate("vimagepullsecret.kb.io", "/validate-images-banzaicloud-io-v1alpha1-imagepullsecret")
            .admission_without_status()
            .now_granularity(60)
            .budgets(Budgets {
                time_ms: Some(5_000),
                memory_kib: Some(64 * 1024),
                instructions: Some(10_000_000_000),
                children: Some(copies::MOST),
                output_bytes: Some(copies::OUTPUT),
            })
            .build()
    }

    fn reconcile(snapshot: &Snapshot<ImagePullSecret>) -> Result<Desired, Failure> {
        let settings: PullSecretSettings = snapshot.settings.get()?;
        let mut parent = snapshot.parent.clone();
        let name = parent.name_any();
        admission::fill(&mut parent.spec, &name, &settings);
        let causes = admission::causes(&parent.spec, &settings);
        if !causes.is_empty() {
            return Err(Failure::InvalidObject(causes));
        }
        run(snapshot, &parent)
    }

    fn default(parent: &mut ImagePullSecret, request: &Request<ImagePullSecret>) {
        // Settings were accepted before; without them the published defaults hold.
        let name = parent.name_any();
        admission::fill(&mut parent.spec, &name, &request.settings.decode().unwrap_or_default());
    }

    fn validate(request: &Request<ImagePullSecret>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<PullSecretSettings>().map(drop)
    }
}

/// One `ImagePullSecret` whose spec has its defaults.
fn run(snapshot: &Snapshot<ImagePullSecret>, parent: &ImagePullSecret) -> Result<Desired, Failure> {
    let now = snapshot.now.unwrap_or_default();
    let there = copies::there(snapshot)?;
    let sources = source::read(snapshot, parent, now);
    let mut selected = select::read(snapshot, &parent.spec.target);
    if let Ok(selected) = &mut selected {
        copies::without_sources(parent, selected);
    }
    let others = others::read(snapshot, parent);
    let copies = match (&selected, &others) {
        (Ok(selected), Ok(others)) => {
            let wanted = sources.merged.as_ref().map(|merged| Wanted::of(parent, merged));
            Copies::of(&there, selected, others, wanted.as_ref())
        }
        // What cannot be told yet must not take anything away.
        _ => Copies::kept(&there),
    };
    let evidence = Evidence {
        earlier: parent.status.as_ref(),
        secret: copies::name(parent),
        sources: &sources,
        selected: selected.as_ref(),
        others: others.as_ref(),
        copies: &copies,
        now,
    };
    let judgement = status::judge(&evidence);
    let desired = Desired::new()
        .queries(source::queries(parent))
        .queries(select::queries(&parent.spec.target))
        .query(others::query(parent))
        .status(&judgement.status)
        .conditions(judgement.conditions)
        .events(judgement.event)
        .samples(metrics::samples(parent, &judgement.status));
    let desired = judgement.requeue.into_iter().fold(desired, Desired::requeue);
    Ok(desired.children(copies.children))
}

#[cfg(not(feature = "library"))]
operator_guest::export!(PullSecretModule);
