//! `spec.autoUpdate`: when the tag of an image is moved to another image, the pods are rolled.
//!
//! The registry is asked for the digest behind the tag. When pods run another one, the digest is written on the pod template, which rolls
//! them; the pull policy `Always` then brings the new image. Nothing is written while the pods run what the registry has, so
//! switching it on rolls nothing.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::LocalObjectReference, apimachinery::pkg::apis::meta::v1};
use operator_guest::{
    Condition, HttpRequest, HttpResponse, HttpRule, ManifestBuilder, Query, QueryFailure, SecretRule, Verdict,
};

use crate::{pod::ObservedPod, template::Template};

/// The query for the digest.
pub const QUERY: &str = "image";
/// The annotation of the pod template with the digest that the pods were rolled for.
pub const DIGEST: &str = "scone.cloud/image-digest";
/// The condition that tells whether the registry answers; only with `autoUpdate`.
const WATCHED: &str = "ImageWatched";
/// Seconds from one question to the registry to the next: quick enough for who waits for it, and far from the limits of registries.
const INTERVAL: u32 = 300;
/// What a tag may stand for: an index of several platforms, or one image, in the forms of OCI and Docker.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// Asks for what the query needs: an image may be in any registry, and users name the pull secrets for it.
pub fn grants(manifest: ManifestBuilder) -> ManifestBuilder {
    let any = || vec!["*".to_owned()];
    manifest
        .http(HttpRule { host: "*".to_owned(), ports: Vec::new(), methods: vec!["HEAD".to_owned()] })
        .secrets(SecretRule { names: any(), labels: BTreeMap::new(), hosts: any() })
}

/// The image of a spec, and where it runs.
#[derive(Clone, Copy)]
pub struct Watched<'a> {
    /// `spec.image`
    pub image: Option<&'a str>,
    /// `spec.autoUpdate`
    pub auto_update: Option<bool>,
    /// `spec.imagePullSecrets`
    pub secrets: Option<&'a [LocalObjectReference]>,
    /// The container that runs it.
    pub container: &'a str,
    /// The parent's conditions, as the host has dated them.
    pub conditions: &'a [v1::Condition],
}

/// What follows for an image.
pub struct Followed {
    /// What to ask the registry: nothing without `autoUpdate`, and of an image that is named by its digest, which never changes.
    pub query: Option<Query>,
    /// Whether the registry is watched; none without `autoUpdate`.
    pub condition: Option<Condition>,
    digest: Option<String>,
}

impl Followed {
    /// Writes into the annotations of the pods what they are to be rolled for, if anything.
    pub fn annotate(self, annotations: &mut Option<BTreeMap<String, String>>) {
        if let Some(digest) = self.digest {
            annotations.get_or_insert_default().insert(DIGEST.to_owned(), digest);
        }
    }
}

/// Follows an image, from the registry's answer and from what runs.
pub fn follow(
    watched: Watched<'_>,
    answer: Option<Result<&HttpResponse, QueryFailure>>,
    template: Option<&Template>,
    pods: Option<&[ObservedPod]>,
) -> Followed {
    let image = watched.image.unwrap_or_default();
    let (mut query, mut condition, mut wanted) = (None, None, None);
    if watched.auto_update == Some(true) {
        let url = manifest_url(image);
        query = url.map(|url| question(&url, watched.secrets));
        let told =
            answer.map(|answer| answer.map_err(|failure| unreachable(image, &failure)).and_then(|a| read(image, a)));
        condition = Some(match &told {
            _ if image.contains('@') => pinned(),
            _ if query.is_none() => unnamed(),
            Some(told) => judge(image, told),
            None => asking(watched.conditions),
        });
        wanted = told.and_then(Result::ok);
    }
    let digest = digest(image, watched.container, wanted, template, pods);
    Followed { query, condition, digest }
}

/// What the registry has, when a pod runs something else; or else what they were rolled for before, since an annotation that goes would
/// roll them too.
fn digest(
    image: &str,
    container: &str,
    wanted: Option<String>,
    template: Option<&Template>,
    pods: Option<&[ObservedPod]>,
) -> Option<String> {
    let staying = pods.into_iter().flatten().filter(|pod| !pod.is_leaving());
    let mut running = staying.filter_map(|pod| pod.container(container)?.digest());
    let rolled = template.filter(|template| template.image(container) == Some(image));
    let rolled = rolled.and_then(|template| template.annotation(DIGEST)).map(str::to_owned);
    match wanted {
        Some(wanted) if running.any(|digest| digest != wanted) => Some(wanted),
        _ => rolled,
    }
}

fn question(url: &str, secrets: Option<&[LocalObjectReference]>) -> Query {
    let request = HttpRequest::new("HEAD", url, Vec::new()).header("accept", MANIFESTS);
    let names = secrets.into_iter().flatten().map(|secret| secret.name.as_str());
    request.ask(QUERY).every(INTERVAL).within(30).registry_credentials(names)
}

/// Why the registry does not tell.
struct Refusal {
    reason: &'static str,
    message: String,
}

fn pinned() -> Condition {
    Condition::true_(WATCHED, "Pinned", "the image is named by its digest, which never changes")
}

fn unnamed() -> Condition {
    let message = "spec.image is no name of an image, so no registry is asked; write registry/repository:tag";
    Condition::false_(WATCHED, "ImageInvalid", message)
}

fn judge(image: &str, told: &Result<String, Refusal>) -> Condition {
    match told {
        Ok(digest) => Condition::true_(WATCHED, "Known", format!("{image} is {digest}")),
        Err(Refusal { reason, message }) => Condition::false_(WATCHED, reason, message.clone()),
    }
}

/// What was said before, until there is an answer: an operator that starts again knows none, and must not write because of that.
fn asking(conditions: &[v1::Condition]) -> Condition {
    let said = conditions.iter().find(|condition| condition.type_ == WATCHED);
    match said.map(|said| (said.status.as_str(), said)) {
        Some(("True", said)) => Condition::true_(WATCHED, &said.reason, said.message.clone()),
        Some(("False", said)) => Condition::false_(WATCHED, &said.reason, said.message.clone()),
        _ => Condition::unknown(WATCHED, "Asking", "the registry has not answered yet"),
    }
}

/// Warns where a moved tag would not reach the nodes.
pub fn warn(verdict: Verdict, auto_update: Option<bool>, pull_policy: Option<&str>) -> Verdict {
    match pull_policy {
        Some(policy) if auto_update == Some(true) && policy != "Always" => verdict.warn(format!(
            "spec.autoUpdate: with imagePullPolicy {policy} nodes keep the image they have; write Always"
        )),
        _ => verdict,
    }
}

fn read(image: &str, answer: &HttpResponse) -> Result<String, Refusal> {
    let digest = answer.headers.iter().find(|(name, _)| name == "docker-content-digest").map(|(_, value)| value.trim());
    let refusal = |reason, fix: &str| {
        let message = format!("the registry answers status {} for {image}: {fix}", answer.status);
        Refusal { reason, message }
    };
    match (answer.status, digest) {
        (200, Some(digest)) if digest.starts_with("sha256:") => Ok(digest.to_owned()),
        (200, _) => {
            Err(refusal("NoDigest", "it tells no digest, so a moved tag cannot be seen; change spec.image to roll out"))
        }
        (401 | 403, _) => Err(refusal(
            "RegistryRefuses",
            "check spec.imagePullSecrets, or renew them with operator_controller --update",
        )),
        (404, _) => Err(refusal("ImageNotFound", "check the tag of spec.image")),
        _ => Err(refusal("RegistryFails", "it is asked again every five minutes")),
    }
}

fn unreachable(image: &str, failure: &QueryFailure) -> Refusal {
    let message = format!(
        "the registry of {image} cannot be asked: {failure}; let the operator reach it, or switch autoUpdate off"
    );
    Refusal { reason: "RegistryUnreachable", message }
}

/// Where the manifest of an image is; none when it is named by its digest, or is no name of an image: it becomes part of a URL, and must
/// not lead to another path of the registry.
fn manifest_url(image: &str) -> Option<String> {
    if image.contains('@') {
        return None;
    }
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    let (registry, path) = if is_registry { (first, rest) } else { ("registry-1.docker.io", image) };
    let registry = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let (path, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
    // Docker's own images have one word.
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let is_part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_word(part);
    if !path.split('/').all(is_part) || tag.is_empty() || tag.starts_with(['.', '-']) || !is_word(tag) {
        return None;
    }
    let library = if registry == "registry-1.docker.io" && !path.contains('/') { "library/" } else { "" };
    Some(format!("https://{registry}/v2/{library}{path}/manifests/{tag}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_manifest_of_an_image_is_where_the_distribution_protocol_says() {
        let url = |image| manifest_url(image).unwrap_or_default();
        assert_eq!(
            url("registry.example.org/scone.cloud/las:6.0.6"),
            "https://registry.example.org/v2/scone.cloud/las/manifests/6.0.6"
        );
        assert_eq!(url("localhost:5000/las"), "https://localhost:5000/v2/las/manifests/latest");
        assert_eq!(url("team/las:1"), "https://registry-1.docker.io/v2/team/las/manifests/1");
        assert_eq!(url("docker.io/busybox"), "https://registry-1.docker.io/v2/library/busybox/manifests/latest");
        assert_eq!(manifest_url("a.b/las@sha256:00"), None);
    }

    #[test]
    fn an_image_that_would_lead_to_another_path_of_the_registry_is_not_asked_for() {
        for image in [
            "a.b/../token",
            "a.b/x/../../token:1",
            "a.b/x:..",
            "a.b/x:1?y",
            "a.b/x#y",
            "a.b/x%2f..:1",
            "a.b//x",
            "a.b/",
        ] {
            assert_eq!(manifest_url(image), None, "{image}");
        }
    }

    fn pod(image_id: &str) -> ObservedPod {
        from_value(
            json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "c", "imageID": image_id}]}}),
        )
        .unwrap()
    }

    fn template(digest: &str, image: &str) -> Template {
        let annotations = json!({DIGEST: digest});
        from_value(
            json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c", "image": image}]}}),
        )
        .unwrap()
    }

    /// What the pods are rolled for, with this digest in the registry.
    fn rolled(registry: Option<&str>, template: Option<&Template>, pods: &[ObservedPod]) -> Option<String> {
        digest("i", "c", registry.map(str::to_owned), template, Some(pods))
    }

    #[test]
    fn pods_that_run_what_the_registry_has_are_left_alone() {
        assert_eq!(rolled(Some("sha256:1"), None, &[pod("r/i@sha256:1")]), None);
    }

    #[test]
    fn pods_that_run_something_else_are_rolled() {
        assert_eq!(rolled(Some("sha256:2"), None, &[pod("r/i@sha256:1")]).as_deref(), Some("sha256:2"));
        let before = template("sha256:1", "i");
        assert_eq!(rolled(Some("sha256:2"), Some(&before), &[pod("r/i@sha256:1")]).as_deref(), Some("sha256:2"));
    }

    #[test]
    fn what_pods_were_rolled_for_stays_when_nobody_watches_any_more() {
        let before = template("sha256:1", "i");
        assert_eq!(rolled(None, Some(&before), &[pod("r/i@sha256:1")]).as_deref(), Some("sha256:1"));
    }

    #[test]
    fn another_image_begins_anew() {
        let before = template("sha256:1", "another");
        assert_eq!(rolled(None, Some(&before), &[]), None);
    }

    #[test]
    fn a_runtime_that_tells_no_digest_causes_no_rollout() {
        assert_eq!(rolled(Some("sha256:2"), None, &[pod("0123456789")]), None);
        assert_eq!(rolled(Some("sha256:2"), None, &[pod("")]), None);
    }

    /// Reason of the condition for an answer.
    fn reason(answer: Option<Result<&HttpResponse, QueryFailure>>, image: &str) -> String {
        let watched =
            Watched { image: Some(image), auto_update: Some(true), secrets: None, container: "c", conditions: &[] };
        follow(watched, answer, None, None).condition.unwrap().reason
    }

    fn reason_of(status: u16, headers: &[(&str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        reason(Some(Ok(&HttpResponse { status, headers, body: Vec::new() })), "a.b/i:1")
    }

    #[test]
    fn each_answer_of_a_registry_has_its_reason() {
        assert_eq!(reason_of(200, &[("docker-content-digest", "sha256:1")]), "Known");
        assert_eq!(reason_of(200, &[]), "NoDigest");
        assert_eq!(reason_of(401, &[]), "RegistryRefuses");
        assert_eq!(reason_of(404, &[]), "ImageNotFound");
        assert_eq!(reason_of(502, &[]), "RegistryFails");
        assert_eq!(reason(Some(Err(QueryFailure::TimedOut)), "a.b/i:1"), "RegistryUnreachable");
        assert_eq!(reason(None, "a.b/i:1"), "Asking");
        assert_eq!(reason(None, "a.b/i@sha256:1"), "Pinned");
    }

    #[test]
    fn what_was_said_stays_until_the_registry_answers() {
        let said: v1::Condition = from_value(json!({"type": WATCHED, "status": "False", "reason": "RegistryFails",
            "message": "m", "lastTransitionTime": "2023-11-14T22:00:00Z"}))
        .unwrap();
        let conditions = [said];
        let watched = Watched {
            image: Some("a.b/i:1"),
            auto_update: Some(true),
            secrets: None,
            container: "c",
            conditions: &conditions,
        };
        let kept = follow(watched, None, None, None).condition.unwrap();
        assert_eq!((kept.reason.as_str(), kept.message.as_str()), ("RegistryFails", "m"));
    }

    #[test]
    fn nothing_is_asked_and_nothing_said_without_auto_update() {
        let watched = Watched {
            image: Some("a.b/i:1"),
            auto_update: Some(false),
            secrets: None,
            container: "c",
            conditions: &[],
        };
        let followed = follow(watched, None, None, None);
        assert!(followed.query.is_none() && followed.condition.is_none());
    }
}
