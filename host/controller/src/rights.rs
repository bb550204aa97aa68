//! Whether the operator may do what a module needs, asked of the API server before the first parent needs it.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use operator_core::rights::Right;

use crate::{
    api::Api as Requests,
    store::{Kind, Store},
    watch,
};

/// The rights that are missing, one line each: verb, resource, namespace. A kind that the server does not serve is left out, since
/// its watch tells already.
///
/// # Errors
/// When the API server cannot be asked.
pub(crate) async fn lacking(client: &kube::Client, store: &Store, rights: &[Right]) -> Result<Vec<String>, String> {
    let mut lacking = Vec::new();
    for right in rights {
        let kind: Kind = (right.api_version.clone(), right.kind.clone());
        let Ok(resource) = watch::resource(client, store, &kind).await else { continue };
        let namespaces: Vec<Option<&String>> = match &right.namespaces {
            Some(names) => names.iter().map(Some).collect(),
            None => vec![None],
        };
        for namespace in namespaces {
            let mut missing = Vec::new();
            for verb in &right.verbs {
                let asked = ResourceAttributes {
                    group: Some(resource.group.clone()),
                    resource: Some(resource.plural.clone()),
                    subresource: right.subresource.clone(),
                    verb: Some((*verb).to_owned()),
                    namespace: namespace.cloned(),
                    ..ResourceAttributes::default()
                };
                if !may(client, store, asked).await? {
                    missing.push(*verb);
                }
            }
            if !missing.is_empty() {
                let sub = right.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
                let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
                let place = namespace.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
                lacking.push(format!("{} {}{sub}{group} in {place}", missing.join(", "), resource.plural));
            }
        }
    }
    Ok(lacking)
}

async fn may(client: &kube::Client, store: &Store, asked: ResourceAttributes) -> Result<bool, String> {
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(asked), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Requests::new(client, store).review(&review).await.map_err(|error| error.to_string())?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
