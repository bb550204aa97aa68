//! The `SGXPlugin` module: a device plug-in on each selected node, and the labels of nodes with SGX.
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
    core::v1::{Node, Pod},
};
use kube::ResourceExt;
use operator_guest::{
    Cause, Desired, Failure, Manifest, Module, NamespaceRule, ObjectQuery, Query, Request, Settings, Snapshot, Verdict,
    module_with_crd,
};
use scone_api::{
    SGX_CAPABLE, SconeSettings, State, auto_update, missing,
    owned::{self, Owned},
    problem::Problem,
    report, selection,
    sgxplugin::{SGXPlugin, SGXPluginSpec, SGXPluginStatus},
};

use crate::{
    nodes::Nodes,
    observe::{
        NODE_FIELDS, NODES, OTHER_FIELDS, OTHERS, Observation, POD_FIELDS, PODS, READ_POD_FIELDS, USER_FIELDS, USERS,
    },
    status::{Evidence, Judgement},
    workload::Site,
};

/// The module.
pub struct SGXPluginModule;

impl Module for SGXPluginModule {
    type Parent = SGXPlugin;

    fn manifest() -> Manifest {
        let module = module_with_crd::<SGXPlugin>("sgxplugin", env!("CARGO_PKG_VERSION"), scone_api::SGXPLUGIN_CRD);
        auto_update::grants(module)
            .description("Lets pods use the SGX device without privileges, and labels the nodes that have it")
            .owns::<DaemonSet>(NamespaceRule::Target)
            .labels::<Node>([SGX_CAPABLE])
            .reads::<Node>(NamespaceRule::All, NODE_FIELDS)
            .reads::<Pod>(NamespaceRule::All, READ_POD_FIELDS)
            .reads::<SGXPlugin>(NamespaceRule::All, OTHER_FIELDS)
            .webhook_mutate("msgxplugin.kb.io", "/mutate-base-scone-cloud-v1beta1-sgxplugin")
            .webhook_validate("vsgxplugin.kb.io", "/validate-base-scone-cloud-v1beta1-sgxplugin")
            .admission_without_status()
            .now_granularity(60)
            .finalizer()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<SGXPlugin>) -> Result<Desired, Failure> {
        if snapshot.finalizing {
            return Ok(going(&snapshot.parent));
        }
        let settings: SconeSettings = snapshot.settings.get()?;
        let name = snapshot.parent.name_any();
        let mut spec = snapshot.parent.spec.clone();
        admission::fill(&mut spec, &settings);
        let site = Site { name: &name, namespace: spec.namespace.as_deref().unwrap_or_default() };
        let observation = observe::observe(snapshot, &site)?;
        let desired = queries(&site);
        match &observation.others {
            // A second plug-in must not be made even for a moment: both would claim the same device.
            None if observation.set.is_none() => {
                Ok(say(desired, snapshot, &site, &Judgement::waiting("other SGXPlugins are not known yet")))
            }
            Some(others) if let Some(first) = rival(&name, others) => Ok(refuse(desired, snapshot, &site, first)),
            _ => {
                let followed = follow(snapshot, &spec, &observation);
                let desired = desired.queries(followed.query.clone()).conditions(followed.condition.clone());
                followed.annotate(&mut spec.pod_annotations);
                Ok(run(desired, snapshot, &site, &spec, &observation))
            }
        }
    }

    fn default(plugin: &mut SGXPlugin, request: &Request<SGXPlugin>) {
        // Settings were accepted before; without them the published defaults hold.
        admission::fill(&mut plugin.spec, &request.settings.decode().unwrap_or_default());
    }

    fn validate(request: &Request<SGXPlugin>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<SconeSettings>().map(drop)
    }
}

fn queries(site: &Site<'_>) -> Desired {
    let pods = ObjectQuery::of::<Pod>().in_namespace(site.namespace).fields(POD_FIELDS);
    let pods: Query = site.labels().iter().fold(pods, |query, (key, value)| query.label(key, value)).ask(PODS);
    Desired::new()
        .query(ObjectQuery::of::<SGXPlugin>().fields(OTHER_FIELDS).ask(OTHERS))
        .query(ObjectQuery::of::<Node>().fields(NODE_FIELDS).ask(NODES))
        .query(pods)
        .query(ObjectQuery::of::<Pod>().fields(USER_FIELDS).ask(USERS))
}

/// What follows for the image, should its tag be moved.
fn follow(snapshot: &Snapshot<SGXPlugin>, spec: &SGXPluginSpec, observation: &Observation) -> auto_update::Followed {
    let watched = auto_update::Watched {
        image: spec.image.as_deref(),
        auto_update: spec.auto_update,
        secrets: spec.image_pull_secrets.as_deref(),
        container: workload::CONTAINER,
        conditions: snapshot.parent.status.as_ref().map_or(&[], |status| &status.conditions),
    };
    let template = observation.set.as_ref().map(|set| &set.spec.template);
    auto_update::follow(watched, snapshot.http(auto_update::QUERY), template, observation.pods.as_deref())
}

/// The `SGXPlugin` that was there before this one.
fn rival<'a>(name: &str, others: &'a [observe::OtherPlugin]) -> Option<&'a str> {
    let all: Vec<_> = others.iter().map(|other| &other.metadata).collect();
    report::rival(name, &all)
}

/// An `SGXPlugin` that is being deleted: it wants nothing any more, and says so. No settings are read, since wrong ones must
/// not keep it.
fn going(parent: &SGXPlugin) -> Desired {
    let (status, why) = (status::going(parent), report::going("SGXPlugin"));
    let before = parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    Desired::new()
        .status(&status)
        .conditions(report::health(status.state, &why))
        .condition(report::deletion("SGXPlugin", true))
        .events(report::event(before, status.state, &why))
        .finalized()
}

/// An `SGXPlugin` beside another one: it makes nothing, and labels nothing.
fn refuse(desired: Desired, snapshot: &Snapshot<SGXPlugin>, site: &Site<'_>, first: &str) -> Desired {
    let message = format!(
        "SGXPlugin {first} is there already, and a cluster has one; delete one of them: kubectl delete sgxplugin {}",
        site.name
    );
    let status = SGXPluginStatus {
        state: State::Unhealthy,
        serving_replica_ratio: "0/0".to_owned(),
        desired_replicas: Some(0),
        ready_replicas: Some(0),
        serving_replicas: Some(0),
        healthy_serving_replicas: Some(0),
        ..status::unknown()
    };
    say(desired, snapshot, site, &Judgement { status, why: Problem::new("AnotherSGXPluginExists", message) })
}

/// The one `SGXPlugin` of the cluster.
fn run(
    desired: Desired,
    snapshot: &Snapshot<SGXPlugin>,
    site: &Site<'_>,
    spec: &SGXPluginSpec,
    observation: &Observation,
) -> Desired {
    let now = snapshot.now.unwrap_or_default();
    let nodes = Nodes::look(spec, observation, now);
    let set = workload::slots(spec, observation).map(|slots| workload::daemon_set(site, spec, slots));
    let template = set.as_ref().and_then(|set| set.spec.as_ref()).map(|spec| &spec.template);
    let owned = Owned::daemon_set(site.name, observation.set.as_ref(), template);
    let evidence = Evidence { parent: &snapshot.parent, observation, nodes: nodes.as_ref(), owned: &owned, now };
    let judgement = status::judge(&evidence);
    // The labels of nodes are those of the capacity map, which stays as it was while the nodes are unknown.
    let capable = judgement.status.capacity_sgx_devices_per_node.keys();
    let desired = capable.fold(desired, |desired, node| desired.partial_labels::<Node>(node, [(SGX_CAPABLE, "true")]));
    let desired = desired
        .children(set.map(|set| workload::child(spec, &set)))
        .condition(selection::condition(observation.counts()))
        .condition(missing::condition(evidence.pods()))
        .conditions(owned::conditions(&[owned], judgement.status.state));
    say(desired, snapshot, site, &judgement)
}

/// What every `SGXPlugin` says.
fn say(desired: Desired, snapshot: &Snapshot<SGXPlugin>, site: &Site<'_>, judgement: &Judgement) -> Desired {
    let Judgement { status, why } = judgement;
    let before = snapshot.parent.status.as_ref().map(|status| (status.state, &*status.conditions));
    let desired = desired
        .status(status)
        .conditions(report::health(status.state, why))
        .condition(report::deletion("SGXPlugin", false))
        .events(report::event(before, status.state, why))
        .samples(metrics::samples(site.name, site.namespace, status));
    // Nothing else tells that something has had its time, also beside another problem.
    if status.state == State::Healthy { desired } else { desired.requeue(60) }
}

#[cfg(not(feature = "library"))]
operator_guest::export!(SGXPluginModule);
