//! What an administrator may leave out, and what is refused: defaults and validation of the spec.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use operator_guest::{Cause, Request, Verdict};
use scone_api::{
    ENCLAVE,
    rules::{self, Common},
    syntax::is_dns_label,
    vault::{Vault, VaultImage, VaultServer, VaultSpec},
};

use crate::{
    server::{VAULT, is_dev, is_stored},
    settings::{InjectorScope, VaultSettings},
    status::NOT_ALLOWED,
};

/// The one key of the maps of switches.
const ENABLED: &str = "enabled";
/// The variable that binds a Vault to its owner and its policies.
const OWNER: &str = "OWNER_ID";
/// Answers well only when Vault is initialised and not sealed.
const PATH: &str = "/v1/sys/health?standbyok=true";
/// The most characters of a name: that of the injector's Service is the longest that is made of it.
const LONGEST: usize = 44;

/// Whether a map of switches says so.
pub(crate) fn enabled(map: Option<&BTreeMap<String, bool>>, otherwise: bool) -> bool {
    map.and_then(|map| map.get(ENABLED)).copied().unwrap_or(otherwise)
}

/// The image of Vault, as containers name it.
pub(crate) fn image(image: Option<&VaultImage>) -> String {
    let repository = image.and_then(|image| image.repository.clone()).unwrap_or_default();
    match image.and_then(|image| image.tag.as_deref()).filter(|tag| !tag.is_empty()) {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository,
    }
}

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
pub(crate) fn fill(spec: &mut VaultSpec, settings: &VaultSettings) {
    spec.auto_update.get_or_insert(false);
    spec.reinstall_on_fatal.get_or_insert(false);
    spec.injector.enabled.get_or_insert(false);
    let server = &mut spec.server;
    fill_image(server.image.get_or_insert_default(), settings);
    server.dev.get_or_insert_default().entry(ENABLED.to_owned()).or_insert(false);
    server.data_storage.get_or_insert_default().entry(ENABLED.to_owned()).or_insert(true);
    server.readiness_probe.get_or_insert_default().entry(ENABLED.to_owned()).or_insert(true);
    server.initial_delay_seconds.get_or_insert(5);
    server.path.get_or_insert_with(|| PATH.to_owned());
    fill_resources(&mut server.resources);
    let variables = server.extra_environment_vars.get_or_insert_default();
    for (name, value) in [("SCONE_HEAP", "8G"), ("SCONE_LAS_ADDR", "$(HOST_IP)")] {
        variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
}

fn fill_image(image: &mut VaultImage, settings: &VaultSettings) {
    let shared = settings.shared();
    // A repository may carry its tag itself.
    let tagged = |text: &str| text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let repository = image.repository.get_or_insert_default();
    if repository.is_empty() {
        *repository = format!("{}/vault", shared.registry.trim_end_matches('/'));
    }
    if image.tag.as_deref().is_none_or(str::is_empty) && !tagged(repository) && !shared.version.is_empty() {
        image.tag = Some(shared.version);
    }
    image.pull_policy.get_or_insert_with(|| "IfNotPresent".to_owned());
}

/// The published amounts. The device is always injected: without it there is no enclave.
fn fill_resources(resources: &mut Option<ResourceRequirements>) {
    let amount = |name: &str, text: &str| (name.to_owned(), Quantity(text.to_owned()));
    let resources = resources.get_or_insert_with(|| ResourceRequirements {
        limits: Some([amount("memory", "12G")].into()),
        requests: Some([amount("memory", "10G")].into()),
        ..ResourceRequirements::default()
    });
    resources.limits.get_or_insert_default().extend([amount(ENCLAVE, "1")]);
    // Kubernetes refuses a request for a device that differs from its limit.
    if let Some(request) = resources.requests.as_mut().and_then(|requests| requests.get_mut(ENCLAVE)) {
        "1".clone_into(&mut request.0);
    }
}

/// Judges a spec.
pub(crate) fn judge(request: &Request<Vault>) -> Verdict {
    let Some(vault) = &request.object else { return Verdict::accept() };
    let spec = &vault.spec;
    let mut causes: Vec<_> = name(&request.identity.name).into_iter().collect();
    causes.extend(shared(spec));
    causes.extend(server(&spec.server));
    if let Some(old) = &request.old_object {
        causes.extend(changed(&old.spec, spec));
    }
    let mut verdict = Verdict::invalid(causes);
    if is_dev(spec) {
        verdict = verdict.warn("spec.server.dev.enabled: for a trial only; it keeps nothing and is not protected");
    }
    if owner(spec).is_none() {
        verdict = verdict.warn("spec.server.extraEnvironmentVars.OWNER_ID is missing; kubectl provision vault sets it");
    }
    // Never refused: published manifests ask for one, and Vault works without it.
    let settings: VaultSettings = request.settings.decode().unwrap_or_default();
    if spec.injector.enabled == Some(true) && settings.injector == InjectorScope::Off {
        verdict = verdict.warn(format!("spec.injector.enabled has no effect: {NOT_ALLOWED}"));
    }
    if spec.auto_update == Some(true) {
        // Contract v1 has no question to a registry.
        verdict =
            verdict.warn("spec.autoUpdate: the registry is not watched; change spec.server.image, or delete the pod");
    }
    verdict
}

fn owner(spec: &VaultSpec) -> Option<&str> {
    let found = spec.server.extra_environment_vars.as_ref()?.get(OWNER)?;
    Some(found.as_str()).filter(|owner| !owner.is_empty())
}

fn name(name: &str) -> Option<Cause> {
    // A generated one is not known yet.
    let fits = name.is_empty()
        || (name.len() <= LONGEST && is_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase()));
    let message = "must be lower-case letters, digits and dashes, starting with a letter, at most 44: Services are named after it";
    (!fits).then(|| Cause::invalid("metadata.name", message))
}

/// What is judged as for all workloads, under the paths that it has here.
fn shared(spec: &VaultSpec) -> Vec<Cause> {
    let image = image(spec.server.image.as_ref());
    let causes = rules::causes(&Common {
        image: Some(image.as_str()).filter(|image| !image.is_empty()),
        image_pull_policy: spec.server.image.as_ref().and_then(|image| image.pull_policy.as_deref()),
        image_pull_secrets: spec.global.image_pull_secrets.as_deref(),
        node_selector: spec.node_selector.as_ref(),
        resources: spec.server.resources.as_ref(),
        ..Common::default()
    });
    let moved = |field: String| {
        for (from, to) in [
            ("spec.imagePullSecrets", "spec.global.imagePullSecrets"),
            ("spec.imagePullPolicy", "spec.server.image.pullPolicy"),
            ("spec.image", "spec.server.image"),
            ("spec.resources", "spec.server.resources"),
        ] {
            if let Some(rest) = field.strip_prefix(from) {
                return format!("{to}{rest}");
            }
        }
        field
    };
    causes.into_iter().map(|cause| Cause { field: moved(cause.field), ..cause }).collect()
}

fn server(server: &VaultServer) -> Vec<Cause> {
    let field = |name: &str| format!("spec.server.{name}");
    let mut causes = Vec::new();
    for (name, map) in
        [("dev", &server.dev), ("dataStorage", &server.data_storage), ("readinessProbe", &server.readiness_probe)]
    {
        let strange = map.iter().flatten().filter(|(key, _)| key.as_str() != ENABLED);
        causes.extend(strange.map(|(key, _)| {
            Cause::not_supported(format!("spec.server.{name}[{key}]"), "is no key of it; there is only enabled")
        }));
    }
    if server.initial_delay_seconds.is_some_and(|seconds| seconds < 0) {
        causes.push(Cause::invalid(field("initialdelaySeconds"), "must not be negative; write seconds, such as 5"));
    }
    if server.path.as_deref().is_some_and(|path| !path.starts_with('/')) {
        causes.push(Cause::invalid(field("path"), format!("must start with a slash, such as {PATH}")));
    }
    if server.post_start.as_ref().and_then(|command| command.first()).is_some_and(String::is_empty) {
        let message =
            "must begin with a program, such as /bin/sh; for several scripts write [/bin/sh, -c, first && second]";
        causes.push(Cause::invalid(field("postStart[0]"), message));
    }
    let bad = server.extra_environment_vars.iter().flatten().filter(|(name, _)| !is_variable(name));
    causes.extend(bad.map(|(name, _)| {
        Cause::invalid(
            format!("spec.server.extraEnvironmentVars[{name}]"),
            "is no name of a variable; write letters, digits and _",
        )
    }));
    causes.extend(init_containers(server));
    causes
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn init_containers(server: &VaultServer) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::from([VAULT]);
    for (at, container) in server.extra_init_containers.iter().flatten().enumerate() {
        let field = |name: &str| format!("spec.server.extraInitContainers[{at}].{name}");
        if !is_dns_label(&container.name) {
            let message =
                format!("{:?} is no name of a container; write lower-case letters, digits, dashes", container.name);
            causes.push(Cause::invalid(field("name"), message));
        } else if !seen.insert(&container.name) {
            causes.push(Cause::duplicate(
                field("name"),
                format!("{:?} is there twice; name it otherwise", container.name),
            ));
        }
        if container.image.as_deref().is_none_or(str::is_empty) {
            causes.push(Cause::required(field("image"), "is needed; write registry/repository:tag"));
        }
    }
    causes
}

/// What cannot be changed, and what to do instead.
fn changed(old: &VaultSpec, new: &VaultSpec) -> Vec<Cause> {
    let mut causes = Vec::new();
    if is_dev(old) != is_dev(new) {
        let message =
            "cannot be changed: a trial keeps nothing, and a real one must not become a trial; create another Vault";
        causes.push(Cause::forbidden("spec.server.dev.enabled", message));
    } else if is_stored(old) != is_stored(new) {
        let message = if is_stored(old) {
            "cannot be switched off: the data would be out of reach; delete the Vault and create it again (its claim stays)"
        } else {
            "cannot be switched on: the data is in the pod only; delete the Vault and create it again, which starts empty"
        };
        causes.push(Cause::forbidden("spec.server.dataStorage.enabled", message));
    }
    if is_stored(old) && owner(old).is_some() && owner(old) != owner(new) {
        let message =
            "cannot be changed: the data is bound to the owner; write the earlier one, or create another Vault";
        causes.push(Cause::forbidden("spec.server.extraEnvironmentVars[OWNER_ID]", message));
    }
    causes
}
