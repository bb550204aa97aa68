//! Whether a `DaemonSet` has any node to run on. For a moment it may have none: labels of nodes come and go, and its controller
//! counts a little later than the module sees them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use operator_guest::Condition;

use crate::{State, missing, observe::DaemonSetStatus, problem::Problem};

/// The condition whose time tells since when there is no node.
const NODES: &str = "NodesSelected";

/// No node is selected: pending as long as that may pass by itself, a problem after that.
pub fn state(conditions: &[v1::Condition], now: i64) -> State {
    if missing::is_overdue(conditions, NODES, "False", now) { State::Unhealthy } else { State::Pending }
}

/// No node fits, and it is not for want of SGX.
pub fn none() -> Problem {
    let message = "the DaemonSet selects no node: check spec.nodeSelector against kubectl get nodes --show-labels, and \
                   spec.tolerations against the nodes' taints";
    Problem::new("NoNodeSelected", message.to_owned())
}

/// Whether some node is selected. The host remembers since when.
pub fn condition(counts: Option<&DaemonSetStatus>) -> Condition {
    match counts.map(|counts| counts.desired_number_scheduled) {
        None => Condition::unknown(NODES, "Observing", "the DaemonSet does not tell yet"),
        Some(0) => Condition::false_(NODES, "None", "the DaemonSet selects no node"),
        Some(_) => Condition::true_(NODES, "Selected", "the DaemonSet selects at least one node"),
    }
}
