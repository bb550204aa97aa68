//! The LAS module: one local attestation service on each SGX node, and a probe that tells whether it works.
//!
//! What it makes and how it decides is in `README.md` beside this crate.

mod admission;
mod metrics;
mod nodes;
mod observe;
mod status;
mod workload;

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod, Secret},
};
use kube::ResourceExt;
use operator_guest::{
    Cause, Desired, Failure, Manifest, Module, NamespaceRule, ObjectQuery, PodLogQuery, PodRule, Query, Request,
    Settings, Snapshot, Verdict, module_with_crd,
};

use scone_api::{auto_update, las as api, missing, owned, pod, problem, report, selection};

use crate::{
    api::{LAS, LASSpec, LASStatus, SconeSettings, State},
    observe::{NODE_FIELDS, NODES, OTHER_FIELDS, OTHERS, Observation, OtherLas, POD_FIELDS, PODS},
    problem::Problem,
    status::{Evidence, Judgement},
    workload::Site,
};

/// The module.
pub struct LasModule;

impl Module for LasModule {
    type Parent = LAS;

    fn manifest() -> Manifest {
        let module = module_with_crd::<LAS>("las", env!("CARGO_PKG_VERSION"), scone_api::LAS_CRD);
        auto_update::grants(module)
            .description("Runs one local attestation service on each SGX node and probes it")
            .owns::<DaemonSet>(NamespaceRule::Target)
            .owns::<Secret>(NamespaceRule::Target)
            .labels::<Node>([status::CAPABLE, status::OK])
            .reads::<Node>(NamespaceRule::All, NODE_FIELDS)
            .reads::<Pod>(NamespaceRule::Target, POD_FIELDS)
            .reads::<LAS>(NamespaceRule::All, OTHER_FIELDS)
            .pod_logs(PodRule {
                namespaces: NamespaceRule::Target,
                labels: [("app.kubernetes.io/name".to_owned(), "las".to_owned())].into(),
                containers: vec![workload::LAS.to_owned()],
                programs: Vec::new(),
            })
            .webhook_mutate("mlas.kb.io", "/mutate-base-scone-cloud-v1beta1-las")
            .webhook_validate("vlas.kb.io", "/validate-base-scone-cloud-v1beta1-las")
            .admission_without_status()
            .now_granularity(60)
            .finalizer()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<LAS>) -> Result<Desired, Failure> {
        if snapshot.finalizing {
            return Ok(going(&snapshot.parent));
        }
        let settings: SconeSettings = snapshot.settings.get()?;
        let name = snapshot.parent.name_any();
        let mut spec = snapshot.parent.spec.clone();
        admission::fill(&mut spec, &settings);
        let site = Site { name: &name, namespace: spec.namespace.as_deref().unwrap_or_default() };
        let observation = observe::observe(snapshot, &site)?;
        let desired = Desired::new().query(ObjectQuery::of::<LAS>().fields(OTHER_FIELDS).ask(OTHERS));
        match &observation.all_las {
            // A second DaemonSet for the same host port must not be made even for a moment.
            None if observation.daemon_set.is_none() => Ok(desired),
            Some(all) if let Some(first) = rival(&name, all) => Ok(refuse(desired, snapshot, &site, first)),
            _ => {
                let followed = follow(snapshot, &spec, &observation);
                let desired = desired.queries(followed.query.clone()).conditions(followed.condition.clone());
                followed.annotate(&mut spec.pod_annotations);
                Ok(run(desired, snapshot, &site, &spec, &observation))
            }
        }
    }

    fn default(las: &mut LAS, request: &Request<LAS>) {
        // Settings were accepted before; without them the published defaults hold.
        admission::fill(&mut las.spec, &request.settings.decode().unwrap_or_default());
    }

    fn validate(request: &Request<LAS>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<SconeSettings>().map(drop)
    }
}

/// What follows for the image, should its tag be moved.
fn follow(snapshot: &Snapshot<LAS>, spec: &LASSpec, observation: &Observation) -> auto_update::Followed {
    let watched = auto_update::Watched {
        image: spec.image.as_deref(),
        auto_update: spec.auto_update,
        secrets: spec.image_pull_secrets.as_deref(),
        container: workload::LAS,
        conditions: snapshot.parent.status.as_ref().map_or(&[], |status| &status.conditions),
    };
    let template = observation.daemon_set.as_ref().map(|set| &set.spec.template);
    auto_update::follow(watched, snapshot.http(auto_update::QUERY), template, observation.pods.as_deref())
}

/// The LAS that was there before this one.
fn rival<'a>(name: &str, all: &'a [OtherLas]) -> Option<&'a str> {
    let all: Vec<_> = all.iter().map(|las| &las.metadata).collect();
    report::rival(name, &all)
}

/// A LAS that is being deleted: it wants nothing any more, and says so. No settings are read, since wrong ones must not keep
/// it.
fn going(parent: &LAS) -> Desired {
    let (status, why) = (status::going(parent), report::going("LAS"));
    let before = parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    Desired::new()
        .status(&status)
        .conditions(report::health(status.state, &why))
        .condition(report::deletion("LAS", true))
        .events(report::event(before, status.state, &why))
        .finalized()
}

/// A LAS beside another one: it makes nothing.
fn refuse(desired: Desired, snapshot: &Snapshot<LAS>, site: &Site<'_>, first: &str) -> Desired {
    let message = format!(
        "LAS {first} is there already, and a cluster has one; delete one of them: kubectl delete las {}",
        site.name
    );
    let status = LASStatus {
        state: State::Unhealthy,
        version: "unknown".to_owned(),
        desired_number_scheduled: Some(0),
        number_available: Some(0),
        las_replica_alert: Some(-1),
        las_probe_alert: Some(-1),
        ..LASStatus::default()
    };
    let judgement = Judgement { status, why: Problem::new("AnotherLASExists", message) };
    say(desired, snapshot, site, &judgement)
}

/// The one LAS of the cluster.
fn run(
    desired: Desired,
    snapshot: &Snapshot<LAS>,
    site: &Site<'_>,
    spec: &LASSpec,
    observation: &Observation,
) -> Desired {
    let keyed = workload::dcap_key(spec).is_some();
    let nodes = nodes::nodes(snapshot, observation, keyed);
    let set = workload::daemon_set(site, spec);
    let owned = workload::owned(site, spec, &set, observation);
    let evidence = Evidence {
        parent: &snapshot.parent,
        observation,
        nodes: nodes.as_ref(),
        owned: &owned,
        needs_label: needs_label(spec),
        now: snapshot.now.unwrap_or_default(),
    };
    let judgement = status::judge(&evidence);
    let logs = nodes.iter().flat_map(|nodes| &nodes.logs);
    let desired = desired
        .children(workload::children(site, spec, &set))
        .query(ObjectQuery::of::<Node>().fields(NODE_FIELDS).ask(NODES))
        .query(pods(site))
        .queries(logs.map(|pod| log(site, pod)))
        .conditions(owned::conditions(&owned, judgement.status.state))
        .condition(selection::condition(evidence.counts()))
        .condition(missing::condition(evidence.pods()))
        .condition(status::checks(keyed));
    say(status::label_nodes(desired, &judgement, observation), snapshot, site, &judgement)
}

/// Whether only nodes with the label of the SGX plugin are selected.
fn needs_label(spec: &LASSpec) -> bool {
    let wanted = spec.node_selector.as_ref().and_then(|keys| keys.get(admission::SGX_CAPABLE));
    wanted.is_some_and(|value| value == "true")
}

fn pods(site: &Site<'_>) -> Query {
    let query = ObjectQuery::of::<Pod>().in_namespace(site.namespace).fields(POD_FIELDS);
    site.labels().iter().fold(query, |query, (key, value)| query.label(key, value)).ask(PODS)
}

fn log(site: &Site<'_>, pod: &str) -> Query {
    let query = PodLogQuery::of(site.namespace, pod, workload::LAS, nodes::KEY_LINE).limit(5);
    query.ask(&nodes::log_id(pod)).every(60).within(10)
}

/// What every LAS says.
fn say(desired: Desired, snapshot: &Snapshot<LAS>, site: &Site<'_>, judgement: &Judgement) -> Desired {
    let Judgement { status, why } = judgement;
    let before = snapshot.parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    let desired = desired
        .status(status)
        .conditions(report::health(status.state, why))
        .condition(report::deletion("LAS", false))
        .events(report::event(before, status.state, why))
        .samples(metrics::samples(site.name, site.namespace, status));
    // Nothing else tells that something has had its time, also beside another problem.
    if status.state == State::Healthy { desired } else { desired.requeue(60) }
}

#[cfg(not(feature = "library"))]
operator_guest::export!(LasModule);
