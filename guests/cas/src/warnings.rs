//! What is accepted, and yet somebody should know. Each in at most 120 characters.

use std::fmt::Arguments;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use scone_api::{cas::CASSpec, quantity};

use crate::{
    settings::CasSettings,
    spec,
    workload::{self, CLIENT_PORT},
};

/// `kubectl provision` takes no longer names.
const PLUGIN_NAME: usize = 15;

/// What to say about a spec, and about the change from the stored one.
pub(crate) fn of(spec: &CASSpec, old: Option<&CASSpec>, name: &str, settings: &CasSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    // Nearly all of them are not said: what would be is written only then.
    let mut say = |holds: bool, text: Arguments<'_>| warnings.extend(holds.then(|| text.to_string()));
    let is_new = old.is_none();
    say(
        is_new && name.len() > PLUGIN_NAME,
        format_args!("metadata.name: kubectl provision takes names of at most {PLUGIN_NAME} characters"),
    );
    say(
        spec.auto_update == Some(true),
        format_args!("spec.autoUpdate has no effect on a CAS; change spec.image to update it"),
    );
    let edmm = spec.edmm_mode.as_deref().unwrap_or_default();
    say(
        !["", "disable", "enable", "auto"].contains(&edmm),
        format_args!("spec.edmmMode: CAS knows disable, enable and auto"),
    );
    let service = spec.service.as_ref();
    let type_ = service.and_then(|service| service.type_.as_deref()).unwrap_or("ClusterIP");
    let balanced = service.and_then(|service| service.load_balancer_ip.as_deref()).is_some_and(|ip| !ip.is_empty());
    say(
        balanced && type_ != "LoadBalancer",
        format_args!("spec.service.loadBalancerIP has no effect without spec.service.type LoadBalancer"),
    );
    let ports = service.and_then(|service| service.node_ports.as_ref());
    let chosen =
        ports.is_some_and(|ports| [ports.client_port, ports.enclave_port].iter().flatten().any(|port| *port != 0));
    say(
        chosen && type_ != "NodePort",
        format_args!("spec.service.nodePorts has no effect without spec.service.type NodePort"),
    );
    let given = spec.configuration.as_deref().filter(|text| !text.is_empty());
    let path = spec::database_path(spec);
    say(
        given.is_some_and(|text| !text.contains(path)) && spec::database(spec).is_some(),
        format_args!(
            "spec.configuration does not name spec.persistence.mountPath: the database may be lost with the pod"
        ),
    );
    say(
        given.is_some_and(|text| !text.contains(&CLIENT_PORT.to_string())),
        format_args!("spec.configuration does not name port {CLIENT_PORT}, on which the Service expects CAS"),
    );
    say(
        spec::owner_certificate(spec).is_none()
            && spec.owner_certificate.as_deref().is_some_and(|text| !text.is_empty()),
        format_args!("spec.ownerCertificate has no effect without spec.ownerConfig"),
    );
    say(
        spec::owner_config(spec).is_some(),
        format_args!("spec.ownerConfig: whoever may read this resource can read its secrets"),
    );
    backups(spec, settings, &mut say);
    volumes(spec, old, name, &mut say);
    warnings
}

fn backups(spec: &CASSpec, settings: &CasSettings, say: &mut impl FnMut(bool, Arguments<'_>)) {
    let Some(backup) = spec::backup(spec) else { return };
    let vouched = backup.image.as_deref().is_some_and(|image| settings.vouches_for(image));
    say(
        !vouched,
        format_args!(
            "spec.backup-controller.image: nobody vouches for it, so it makes no backups; see BackupControllerTrusted"
        ),
    );
    say(
        !vouched,
        format_args!(
            "take backup-controller of the operator's registry, or have its repository added to backupImages of cas"
        ),
    );
    say(
        backup.cas.as_deref().is_some_and(|cas| !cas.is_empty()),
        format_args!("spec.backup-controller.cas is deprecated; leave it out for this CAS"),
    );
    say(
        spec.tolerations.as_deref().unwrap_or_default() != backup.tolerations.as_deref().unwrap_or_default(),
        format_args!(
            "spec.tolerations differs from spec.backup-controller.tolerations: kubectl provision will not upgrade"
        ),
    );
    say(
        spec::database(spec).is_none(),
        format_args!("spec.backup-controller: without spec.persistence CAS cannot take its database to another node"),
    );
}

fn volumes(spec: &CASSpec, old: Option<&CASSpec>, name: &str, say: &mut impl FnMut(bool, Arguments<'_>)) {
    let gains = old.is_some_and(|old| spec::database(old).is_none()) && spec::database(spec).is_some();
    say(gains, format_args!("spec.persistence: CAS starts anew with an empty volume; what it has now is lost"));
    let persists = |spec: &CASSpec| {
        spec.database_snapshots.as_ref().and_then(|s| s.persistence.as_ref()).is_some_and(|p| p.enabled)
    };
    say(
        old.is_some_and(persists) && !persists(spec),
        format_args!(
            "the claim {}-{name}-0 of the snapshots stays; delete it when you need it no more",
            workload::SNAPSHOTS
        ),
    );
    let mut volume = |claim: &str, pair: (Option<&Quantity>, Option<&Quantity>)| {
        let number = |size: Option<&Quantity>| size.and_then(|size| quantity::number(&size.0));
        let grows = number(pair.0).is_some_and(|old| number(pair.1).is_some_and(|new| new > old));
        say(
            grows,
            format_args!(
                "{claim}-{name}-0 grows if its storage class allows that, and never shrinks again; see VolumesAsWanted"
            ),
        );
    };
    volume(workload::DATABASE, (old.and_then(database_size), database_size(spec)));
    volume(workload::SNAPSHOTS, (old.and_then(snapshots_size), snapshots_size(spec)));
}

fn database_size(spec: &CASSpec) -> Option<&Quantity> {
    spec.persistence.as_ref()?.size.as_ref()
}

fn snapshots_size(spec: &CASSpec) -> Option<&Quantity> {
    spec.database_snapshots.as_ref()?.persistence.as_ref()?.size.as_ref()
}
