//! The Vault module: a `HashiCorp` Vault in an enclave, and the injector of its agents.
//!
//! What it makes and how it decides is in `README.md` beside this crate.

mod admission;
mod certificate;
mod injector;
mod metrics;
mod objects;
mod observe;
mod pods;
mod server;
mod settings;
mod status;

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Node, Pod, Secret, Service, ServiceAccount},
    rbac::v1::ClusterRoleBinding,
};
use kube::ResourceExt;
use operator_guest::{
    Cause, Desired, Failure, Manifest, Module, NamespaceRule, ObjectQuery, PodLogQuery, PodRule, Query, Request,
    Settings, Snapshot, Verdict, module_with_crd,
};
use scone_api::{State, missing, owned, report, vault::Vault};

use crate::{
    objects::{Part, Site},
    observe::{NODE_FIELDS, NODES, POD_FIELDS},
    settings::VaultSettings,
    status::{Evidence, Judgement},
};

/// The module.
pub struct VaultModule;

impl Module for VaultModule {
    type Parent = Vault;

    fn manifest() -> Manifest {
        module_with_crd::<Vault>("vault", env!("CARGO_PKG_VERSION"), scone_api::VAULT_CRD)
            .description("Runs a HashiCorp Vault in an enclave, and the injector of its agents")
            .owns::<StatefulSet>(NamespaceRule::Parent)
            .owns::<Deployment>(NamespaceRule::Parent)
            .owns::<Service>(NamespaceRule::Parent)
            .owns::<ServiceAccount>(NamespaceRule::Parent)
            // For `authDelegator`. It also prunes the bindings with which earlier releases gave injectors all webhook
            // configurations.
            .owns::<ClusterRoleBinding>(NamespaceRule::All)
            .owns::<MutatingWebhookConfiguration>(NamespaceRule::All)
            .reads::<Node>(NamespaceRule::All, NODE_FIELDS)
            .reads::<Pod>(NamespaceRule::Parent, POD_FIELDS)
            .reads::<Secret>(NamespaceRule::Parent, certificate::FIELDS)
            .pod_logs(PodRule {
                namespaces: NamespaceRule::Parent,
                labels: [("app.kubernetes.io/name".to_owned(), "vault".to_owned())].into(),
                containers: [server::VAULT, pods::INIT].map(str::to_owned).to_vec(),
                programs: Vec::new(),
            })
            .binds(server::DELEGATOR)
            .webhook_mutate("mvault.kb.io", "/mutate-services-scone-cloud-v1beta1-vault")
            .webhook_validate("vvault.kb.io", "/validate-services-scone-cloud-v1beta1-vault")
            .admission_without_status()
            .now_granularity(60)
            .finalizer()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<Vault>) -> Result<Desired, Failure> {
        if snapshot.finalizing {
            return Ok(going(&snapshot.parent));
        }
        let settings: VaultSettings = snapshot.settings.get()?;
        let mut spec = snapshot.parent.spec.clone();
        admission::fill(&mut spec, &settings);
        let name = snapshot.parent.name_any();
        let namespace = snapshot.parent.namespace().unwrap_or_default();
        let site = Site { name: &name, namespace: &namespace, spec: &spec, settings: &settings };
        run(snapshot, &site)
    }

    fn default(vault: &mut Vault, request: &Request<Vault>) {
        // Settings were accepted before; without them the published defaults hold.
        admission::fill(&mut vault.spec, &request.settings.decode().unwrap_or_default());
    }

    fn validate(request: &Request<Vault>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<VaultSettings>().map(drop)
    }
}

/// A Vault that is being deleted: it wants nothing any more, and says so. No settings are read, since wrong ones must not keep
/// it.
fn going(parent: &Vault) -> Desired {
    let (status, why) = (status::going(parent), report::going("Vault"));
    let before = parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    Desired::new()
        .status(&status)
        .conditions(report::health(status.state, &why))
        .condition(report::deletion("Vault", true))
        .events(report::event(before, status.state, &why))
        .finalized()
}

fn run(snapshot: &Snapshot<Vault>, site: &Site<'_>) -> Result<Desired, Failure> {
    let observation = observe::observe(snapshot, site);
    let parts = Part::all(site, observation.certificate.authority(snapshot, site));
    let owned = parts.iter().map(|part| part.owned(snapshot)).collect::<Result<Vec<_>, _>>()?;
    let pods = pods::look(&observation, site, snapshot);
    let now = snapshot.now.unwrap_or_default();
    let evidence =
        Evidence { parent: &snapshot.parent, site, observation: &observation, pods: &pods, owned: &owned, now };
    let Judgement { status, why } = status::judge(&evidence);
    let before = snapshot.parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    let desired = Desired::new()
        .children(parts.into_iter().map(Part::into_child))
        .query(ObjectQuery::of::<Node>().fields(NODE_FIELDS).ask(NODES))
        .queries(pod_queries(site))
        .queries(site.injects().then(|| certificate::query(site)))
        .queries(pods.logs.iter().map(|(pod, container)| log(site, pod, container)))
        .status(&status)
        .conditions(report::health(status.state, &why))
        .condition(report::deletion("Vault", false))
        .condition(missing::condition(evidence.missing()))
        .condition(status::statement(&status, pods.unread.as_deref()))
        .condition(evidence.injector())
        .conditions(owned::conditions(&owned, status.state))
        .events(report::event(before, status.state, &why))
        .samples(metrics::samples(site, &status));
    // Nothing else tells that something has had its time, also beside another problem.
    Ok(if status.state == State::Healthy { desired } else { desired.requeue(60) })
}

fn pod_queries(site: &Site<'_>) -> Vec<Query> {
    let mut kinds = vec![(observe::PODS, site.labels())];
    if site.injects() {
        kinds.push((observe::INJECTORS, injector::labels(site)));
    }
    let query = |(id, labels): (&str, std::collections::BTreeMap<String, String>)| {
        let query = ObjectQuery::of::<Pod>().in_namespace(site.namespace).fields(POD_FIELDS);
        labels.iter().fold(query, |query, (key, value)| query.label(key, value)).ask(id)
    };
    kinds.into_iter().map(query).collect()
}

fn log(site: &Site<'_>, pod: &str, container: &str) -> Query {
    let query = PodLogQuery::of(site.namespace, pod, container, pods::STATEMENT_LINE).limit(5);
    query.ask(&pods::log_id(pod, container)).every(60).within(10)
}

#[cfg(not(feature = "library"))]
operator_guest::export!(VaultModule);
