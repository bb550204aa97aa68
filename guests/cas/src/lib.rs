//! The CAS module: one configuration and attestation service, attested, with snapshots, and able to move to other nodes.
//!
//! What it makes and how it decides is in `README.md` beside this crate.

mod admission;
mod changes;
mod cli;
mod duration;
mod main_pod;
mod metrics;
mod migration;
mod observe;
mod safety;
mod service;
mod settings;
mod snapshots;
mod spec;
mod status;
mod validation;
mod volumes;
mod warnings;
mod workload;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use operator_guest::{
    Action, Cause, Desired, Failure, HttpRule, Manifest, Module, NamespaceRule, ObjectQuery, PodRule, Query, Request,
    Settings, Snapshot, Verdict, module_with_crd,
};
use scone_api::{
    State,
    cas::{CAS, CASSpec},
    owned, report,
};

use crate::{
    observe::{CLAIM_FIELDS, NODE_FIELDS, NODES, Observation, POD_FIELDS, PODS},
    service::Asked,
    settings::CasSettings,
    status::{Evidence, Judgement},
    workload::{Piece, Site, Templates},
};

/// The module.
pub struct CasModule;

impl Module for CasModule {
    type Parent = CAS;

    fn manifest() -> Manifest {
        let pods = |part: &str, container: &str, programs: &[&str]| PodRule {
            namespaces: NamespaceRule::Parent,
            labels: [("app.kubernetes.io/name".to_owned(), part.to_owned())].into(),
            containers: vec![container.to_owned()],
            programs: programs.iter().map(|&program| program.to_owned()).collect(),
        };
        module_with_crd::<CAS>("cas", env!("CARGO_PKG_VERSION"), scone_api::CAS_CRD)
            .description("Runs a configuration and attestation service that other nodes can take over")
            .owns::<ConfigMap>(NamespaceRule::Parent)
            .owns::<Secret>(NamespaceRule::Parent)
            .owns::<Service>(NamespaceRule::Parent)
            .owns::<ServiceAccount>(NamespaceRule::Parent)
            .owns::<StatefulSet>(NamespaceRule::Parent)
            .owns::<Deployment>(NamespaceRule::Parent)
            .owns::<PodDisruptionBudget>(NamespaceRule::Parent)
            .owns::<NetworkPolicy>(NamespaceRule::Parent)
            // Also where LAS is.
            .owns::<RoleBinding>(NamespaceRule::All)
            .owns::<ClusterRoleBinding>(NamespaceRule::All)
            .reads::<Node>(NamespaceRule::All, NODE_FIELDS)
            .reads::<Pod>(NamespaceRule::Parent, POD_FIELDS)
            .reads::<PersistentVolumeClaim>(NamespaceRule::Parent, CLAIM_FIELDS)
            .reads::<StorageClass>(NamespaceRule::All, volumes::CLASS_FIELDS)
            .sets::<PersistentVolumeClaim>(NamespaceRule::Parent, [volumes::SIZE_FIELD])
            .pod_logs(pods("cas", workload::CAS, &[]))
            .pod_logs(pods("bc", workload::BACKUP, &[]))
            .commands(pods("cas", workload::CAS, &[cli::SCONE, cli::STAT, cli::DF]))
            .http(HttpRule { host: "*.svc".to_owned(), ports: Vec::new(), methods: vec!["GET".to_owned()] })
            .deletes::<Pod>(NamespaceRule::Parent)
            .deletes::<StatefulSet>(NamespaceRule::Parent)
            .deletes::<Deployment>(NamespaceRule::Parent)
            .binds(workload::role::NODES)
            .binds(workload::role::LAS)
            .binds(workload::role::WORKLOADS)
            .webhook_mutate("mcas.kb.io", "/mutate-services-scone-cloud-v1beta1-cas")
            .webhook_validate("vcas.kb.io", "/validate-services-scone-cloud-v1beta1-cas")
            .admission_without_status()
            .now_granularity(60)
            .finalizer()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<CAS>) -> Result<Desired, Failure> {
        if snapshot.finalizing {
            return Ok(going(&snapshot.parent));
        }
        let settings: CasSettings = snapshot.settings.get()?;
        let name = snapshot.parent.name_any();
        let namespace = snapshot.parent.namespace().unwrap_or_default();
        let mut spec = snapshot.parent.spec.clone();
        admission::fill(&mut spec, &settings.shared());
        let site = Site { name: &name, namespace: &namespace, settings: &settings };
        let observation = observe::observe(snapshot, &site)?;
        Ok(run(snapshot, &site, &spec, &observation))
    }

    fn default(cas: &mut CAS, request: &Request<CAS>) {
        // Settings were accepted before; without them the published defaults hold.
        let settings: CasSettings = request.settings.decode().unwrap_or_default();
        admission::fill(&mut cas.spec, &settings.shared());
    }

    fn validate(request: &Request<CAS>) -> Verdict {
        validation::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings::judge(settings)
    }
}

/// A CAS that is being deleted: it wants nothing any more, and says so. No settings are read, since wrong ones must not keep it.
/// Its volumes stay.
fn going(parent: &CAS) -> Desired {
    let (status, why) = (status::going(parent), report::going("CAS"));
    let before = parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    Desired::new()
        .status(&status)
        .conditions(report::health(status.state, &why))
        .condition(report::deletion("CAS", true))
        .events(report::event(before, status.state, &why))
        .samples(metrics::samples(&parent.name_any(), &parent.namespace().unwrap_or_default(), &status))
        .finalized()
}

fn run(snapshot: &Snapshot<CAS>, site: &Site<'_>, spec: &CASSpec, observation: &Observation) -> Desired {
    let now = snapshot.now.unwrap_or_default();
    let objects = workload::objects(site, spec, &Templates::choose(spec, observation));
    let pieces = workload::pieces(&objects, observation, snapshot.observed());
    let main = observation.main_pod(site).filter(|pod| pod.is_ready() && !pod.is_leaving());
    let started =
        main.and_then(|pod| pod.container(workload::CAS)).and_then(|container| container.state.running.as_ref());
    let started = started.map(|running| running.started_at.as_str());
    let asked = Asked { snapshot, spec, started };
    let said = asked.said();
    let since = started.and_then(scone_api::observe::unix_seconds);
    let taken = snapshots::judge(snapshot, spec, since, said.provisioned);
    let standing =
        |prefix: String| pieces.iter().find(|piece| piece.owned.prefix() == prefix).map(|p| p.owned.standing());
    let backup = standing(format!("deployment.{}", site.backup()));
    let migration = migration::judge(snapshot, spec, observation, backup);
    let (deployment, budget) =
        (standing(format!("deployment.{}", site.safety())), standing(format!("poddisruptionbudget.{}", site.safety())));
    let safety = safety::judge(spec, observation, deployment, budget);
    let stuck = main_pod::stuck(snapshot, site, spec, observation);
    let volumes = volumes::read(snapshot, site, spec, observation, started.is_some());
    let evidence = Evidence {
        parent: &snapshot.parent,
        spec,
        site,
        observation,
        pieces: &pieces,
        said: &said,
        snapshots: &taken,
        migration: &migration,
        safety: &safety,
        volumes: &volumes,
        backoff: stuck.backoff,
        now,
    };
    let judgement = status::judge(&evidence);
    let desired = Desired::new()
        .children(objects.children())
        .queries(questions(site))
        .queries(asked.questions(site))
        .queries(snapshots::questions(site, spec, started.is_some()))
        .queries(migration::question(site, spec, observation))
        .queries(volumes.questions())
        .actions(stuck.action)
        .events(stuck.event)
        .actions(reinstall(snapshot, spec, &pieces, now))
        .conditions(owned::conditions(evidence.owned(), judgement.status.state))
        .conditions(evidence.own_conditions());
    let desired = volumes.sizes().into_iter().fold(desired, Desired::partial);
    say(desired, snapshot, site, &judgement)
}

/// What is always asked.
fn questions(site: &Site<'_>) -> Vec<Query> {
    let claim = |volume: &str| {
        let query = ObjectQuery::of::<PersistentVolumeClaim>().in_namespace(site.namespace).named(&site.claim(volume));
        query.fields(CLAIM_FIELDS).ask(&observe::claim_id(volume))
    };
    let pods = ObjectQuery::of::<Pod>().in_namespace(site.namespace).label(workload::INSTANCE, site.name);
    vec![
        ObjectQuery::of::<Node>().fields(NODE_FIELDS).ask(NODES),
        pods.fields(POD_FIELDS).ask(PODS),
        claim(workload::DATABASE),
        claim(workload::SNAPSHOTS),
    ]
}

/// Workloads that the cluster has refused to change for long, when the spec allows to make them again. Volumes stay.
fn reinstall(snapshot: &Snapshot<CAS>, spec: &CASSpec, pieces: &[Piece], now: i64) -> Vec<Action> {
    if spec.reinstall_on_fatal != Some(true) {
        return Vec::new();
    }
    let conditions = snapshot.parent.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let stuck = pieces.iter().filter(|piece| status::is_stuck(&piece.owned, conditions, now));
    let workloads = stuck.filter_map(|piece| piece.workload.as_ref()).filter(|(_, uid)| !uid.is_empty());
    workloads.map(|(identity, uid)| Action::delete(&format!("reinstall-{uid}"), identity.clone(), uid)).collect()
}

/// What every CAS says.
fn say(desired: Desired, snapshot: &Snapshot<CAS>, site: &Site<'_>, judgement: &Judgement) -> Desired {
    let Judgement { status, why } = judgement;
    let before = snapshot.parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    let desired = desired
        .status(status)
        .conditions(report::health(status.state, why))
        .condition(report::deletion("CAS", false))
        .events(report::event(before, status.state, why))
        .samples(metrics::samples(site.name, site.namespace, status));
    // Nothing else tells that something has had its time, also beside another problem.
    if status.state == State::Healthy { desired } else { desired.requeue(60) }
}

#[cfg(not(feature = "library"))]
operator_guest::export!(CasModule);
