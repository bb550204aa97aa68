//! Samples. None are published for this kind; these are named like those of the others.

use operator_guest::Sample;
use scone_api::vault::VaultStatus;

use crate::objects::Site;

/// The samples of one Vault.
pub(crate) fn samples(site: &Site<'_>, status: &VaultStatus) -> [Sample; 4] {
    let number = |value: Option<i32>| f64::from(value.unwrap_or(-1));
    [
        ("scone_vault_state", status.state.code()),
        ("scone_vault_desired_replicas", number(status.desired_replicas)),
        ("scone_vault_ready_replicas", number(status.ready_replicas)),
        ("scone_vault_sgx_replica_alert", number(status.sgx_replica_alert)),
    ]
    .map(|(metric, value)| {
        Sample::gauge(metric, value).label("cr_name", site.name).label("cr_namespace", site.namespace)
    })
}
