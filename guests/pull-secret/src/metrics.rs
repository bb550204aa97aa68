//! Samples. None are published for this kind; these are named like those of the others.

use kube::ResourceExt;
use operator_guest::Sample;
use scone_api::imagepullsecret::{Distribution, ImagePullSecret, ImagePullSecretStatus};

/// The samples of one `ImagePullSecret`.
pub(crate) fn samples(parent: &ImagePullSecret, status: &ImagePullSecretStatus) -> [Sample; 3] {
    let state = match status.status {
        Some(Distribution::Ready) => 1.0,
        None => 0.0,
        Some(Distribution::Failed) => -1.0,
    };
    let namespaces = i32::try_from(status.managed_namespaces.len()).unwrap_or(i32::MAX);
    [
        ("scone_imagepullsecret_state", state),
        ("scone_imagepullsecret_managed_namespaces", f64::from(namespaces)),
        ("scone_imagepullsecret_validity_seconds", f64::from(status.validity_seconds.unwrap_or(-1))),
    ]
    .map(|(metric, value)| Sample::gauge(metric, value).label("cr_name", parent.name_any()))
}
