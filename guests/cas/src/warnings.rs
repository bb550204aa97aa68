//! What is accepted, and yet somebody should know. Each in at most 120 characters.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use scone_api::{cas::CASSpec, quantity};

use crate::{
    spec,
    workload::{self, CLIENT_PORT},
};

/// `kubectl provision` takes no longer names.
const PLUGIN_NAME: usize = 15;

/// What to say about a spec, and about the change from the stored one.
pub(crate) fn of(spec: &CASSpec, old: Option<&CASSpec>, name: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut say = |holds: bool, text: String| warnings.extend(holds.then_some(text));
    let is_new = old.is_none();
    say(
        is_new && name.len() > PLUGIN_NAME,
        format!("metadata.name: kubectl provision takes names of at most {PLUGIN_NAME} characters"),
    );
    say(
        spec.auto_update == Some(true),
        "spec.autoUpdate has no effect on a CAS; change spec.image to update it".to_owned(),
    );
    let edmm = spec.edmm_mode.as_deref().unwrap_or_default();
    say(
        !["", "disable", "enable", "auto"].contains(&edmm),
        "spec.edmmMode: CAS knows disable, enable and auto".to_owned(),
    );
    let service = spec.service.clone().unwrap_or_default();
    let type_ = service.type_.as_deref().unwrap_or("ClusterIP");
    let balanced = service.load_balancer_ip.as_deref().is_some_and(|ip| !ip.is_empty());
    say(
        balanced && type_ != "LoadBalancer",
        "spec.service.loadBalancerIP has no effect without spec.service.type LoadBalancer".to_owned(),
    );
    let ports = service.node_ports.unwrap_or_default();
    let chosen = [ports.client_port, ports.enclave_port].into_iter().flatten().any(|port| port != 0);
    say(
        chosen && type_ != "NodePort",
        "spec.service.nodePorts has no effect without spec.service.type NodePort".to_owned(),
    );
    let given = spec.configuration.as_deref().filter(|text| !text.is_empty());
    let path = spec::database_path(spec);
    say(
        given.is_some_and(|text| !text.contains(path)) && spec::database(spec).is_some(),
        "spec.configuration does not name spec.persistence.mountPath: the database may be lost with the pod".to_owned(),
    );
    say(
        given.is_some_and(|text| !text.contains(&CLIENT_PORT.to_string())),
        format!("spec.configuration does not name port {CLIENT_PORT}, on which the Service expects CAS"),
    );
    say(
        spec::owner_certificate(spec).is_none()
            && spec.owner_certificate.as_deref().is_some_and(|text| !text.is_empty()),
        "spec.ownerCertificate has no effect without spec.ownerConfig".to_owned(),
    );
    say(
        spec::owner_config(spec).is_some(),
        "spec.ownerConfig: whoever may read this resource can read its secrets".to_owned(),
    );
    backups(spec, &mut say);
    volumes(spec, old, name, &mut say);
    warnings
}

fn backups(spec: &CASSpec, say: &mut impl FnMut(bool, String)) {
    let Some(backup) = spec::backup(spec) else { return };
    say(
        backup.cas.as_deref().is_some_and(|cas| !cas.is_empty()),
        "spec.backup-controller.cas is deprecated; leave it out for this CAS".to_owned(),
    );
    let list = |tolerations: Option<&Vec<_>>| tolerations.cloned().unwrap_or_default();
    say(
        list(spec.tolerations.as_ref()) != list(backup.tolerations.as_ref()),
        "spec.tolerations differs from spec.backup-controller.tolerations: kubectl provision will not upgrade"
            .to_owned(),
    );
    say(
        spec::database(spec).is_none(),
        "spec.backup-controller: without spec.persistence CAS cannot take its database to another node".to_owned(),
    );
}

fn volumes(spec: &CASSpec, old: Option<&CASSpec>, name: &str, say: &mut impl FnMut(bool, String)) {
    let gains = old.is_some_and(|old| spec::database(old).is_none()) && spec::database(spec).is_some();
    say(gains, "spec.persistence: CAS starts anew with an empty volume; what it has now is lost".to_owned());
    let persists = |spec: &CASSpec| {
        spec.database_snapshots.as_ref().and_then(|s| s.persistence.as_ref()).is_some_and(|p| p.enabled)
    };
    say(
        old.is_some_and(persists) && !persists(spec),
        format!(
            "the claim {}-{name}-0 of the snapshots stays; delete it when you need it no more",
            workload::SNAPSHOTS
        ),
    );
    let mut volume = |claim: &str, pair: (Option<&Quantity>, Option<&Quantity>)| {
        let number = |size: Option<&Quantity>| size.and_then(|size| quantity::number(&size.0));
        let grows = number(pair.0).zip(number(pair.1)).is_some_and(|(old, new)| new > old);
        say(
            grows,
            format!(
                "{claim}-{name}-0 grows if its storage class allows that, and never shrinks again; see VolumesAsWanted"
            ),
        );
    };
    let database = |spec: &CASSpec| spec.persistence.as_ref().and_then(|persistence| persistence.size.clone());
    let (before, after) = (old.and_then(database), database(spec));
    volume(workload::DATABASE, (before.as_ref(), after.as_ref()));
    let part = |spec: &CASSpec| spec.database_snapshots.as_ref().and_then(|snapshots| snapshots.persistence.clone());
    let (before, after) = (old.and_then(part).and_then(|part| part.size), part(spec));
    let size = after.as_ref().and_then(|part| part.size.as_ref());
    volume(workload::SNAPSHOTS, (before.as_ref(), size));
}
