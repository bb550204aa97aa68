//! What can be wrong, why, and what to do about it.

use operator_guest::QueryFailure;

use crate::{ENCLAVE, pod::ContainerStatus};

/// One thing that keeps a service from being healthy and that waiting will not cure.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// One word of a closed set: the reason of conditions and events.
    pub reason: &'static str,
    /// What, where, and the fix.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// The kubelet of a node does not report any more, so that nothing else which the node says counts.
pub fn node_not_ready(node: &str, what: &str) -> Problem {
    let message = format!(
        "node {node} is not ready, so {what} there is not either; repair the node or delete it; see: kubectl describe node \
         {node}"
    );
    Problem::new("NodeNotReady", message)
}

/// The scheduler finds no place on the node that a pod is for.
pub fn unschedulable(node: &str, pod: &str, message: &str) -> Problem {
    let fix = room(message);
    Problem::new("Unschedulable", format!("node {node}: pod {pod} cannot be scheduled ({message}); {fix}"))
}

/// The scheduler finds no node for a pod.
pub fn unplaced(pod: &str, message: &str) -> Problem {
    let fix = room(message);
    Problem::new("Unschedulable", format!("pod {pod} cannot be scheduled ({message}); {fix}"))
}

/// The taints of nodes that do not report. To tolerate them would help nobody.
const SILENT: [&str; 2] = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];

fn room(message: &str) -> &'static str {
    if message.contains(ENCLAVE) {
        "the node has no free SGX device: raise spec.capacitySGXPods of the SGXPlugin, or end other enclaves there"
    } else if message.contains("ports") {
        "another pod holds the host port: choose another spec.hostPort, or remove that pod"
    } else if SILENT.iter().any(|taint| message.contains(taint)) {
        "bring the nodes back that are not ready; see: kubectl get nodes"
    } else if message.contains("taint") {
        "add the node's taint to spec.tolerations, or exclude the node in spec.nodeSelector"
    } else if message.contains("PersistentVolumeClaim") {
        "its claim has no volume: see kubectl get pvc, and give the cluster a default StorageClass"
    } else if message.contains("affinity/selector") {
        "no node has the labels that it asks for: those of las.scontain.com come from a LAS that works (kubectl get las), \
         others from spec.nodeSelector"
    } else {
        "make room on the node, or exclude it in spec.nodeSelector"
    }
}

/// What a container's state tells, if it is a problem. Texts stay the same while the problem does, so that a container that
/// goes through its states again and again causes no writes. `main` names the container whose crashes count even while it runs
/// for a moment between two of them.
pub fn of_container(node: &str, pod: &str, container: &ContainerStatus, main: &str) -> Option<Problem> {
    of_role(node, pod, container, container.name == main, main)
}

/// The same for a container that the spec calls otherwise: `role` decides which fields messages name, `counts` whether it may not
/// crash at all.
pub fn of_role(node: &str, pod: &str, container: &ContainerStatus, counts: bool, role: &str) -> Option<Problem> {
    let name = &container.name;
    let place = format!("node {node}: container {name} of pod {pod}");
    let (why, said) = match &container.state.waiting {
        Some(waiting) => (waiting.reason.as_str(), waiting.message.as_str()),
        None => ("", ""),
    };
    let (reason, message) = match why {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => (
            "ImagePullFailed",
            format!(
                "{place} cannot pull its image ({}); check {}, and renew the pull secret with: operator_controller --update",
                // The message of the back-off ends with the one of the failure itself.
                said.rsplit("ErrImagePull: ").next().filter(|said| !said.is_empty()).unwrap_or(why),
                image_fields(role)
            ),
        ),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => (
            "ContainerCannotStart",
            format!(
                "{place} cannot start ({}); check {}",
                if said.is_empty() { why } else { said },
                start_fields(role)
            ),
        ),
        _ if why == "CrashLoopBackOff" || (counts && keeps_crashing(container)) => {
            let ended = container.last_state.terminated.as_ref();
            let how =
                ended.map_or_else(String::new, |t| format!(", last with exit code {} ({})", t.exit_code, t.reason));
            (
                "ContainerCrashes",
                format!("{place} keeps crashing{how}; see: kubectl logs --previous {pod} -c {name}{}", crash_fix(role)),
            )
        }
        _ => return None,
    };
    Some(Problem::new(reason, message))
}

/// The fields that decide which image is pulled and how.
fn image_fields(role: &str) -> &'static str {
    match role {
        "vault" => "spec.server.image and spec.global.imagePullSecrets",
        "extraInitContainers" => "spec.server.extraInitContainers and spec.global.imagePullSecrets",
        "sidecar-injector" => "the setting injectorImage of module vault and spec.global.imagePullSecrets",
        "backup-controller" => "spec.backup-controller.image and spec.backup-controller.imagePullSecrets",
        "safety-service" => "spec.safetyService.image and spec.imagePullSecrets",
        _ => "spec.image and spec.imagePullSecrets",
    }
}

/// What else may help who crashes: all but the injector are enclaves.
fn crash_fix(role: &str) -> &'static str {
    match role {
        "sidecar-injector" => "",
        _ => ", and make sure that /dev/sgx_enclave has mode 0666 on the host",
    }
}

/// The fields that decide whether a container may start; they differ by kind, which its main container tells.
fn start_fields(role: &str) -> &'static str {
    match role {
        "vault" | "extraInitContainers" | "sidecar-injector" => {
            "spec.server, the Secrets and ConfigMaps that it names, and the pod security level of the namespace"
        }
        "las" => "spec.podSecurityContext, spec.containerSecurityContextLAS and spec.containerSecurityContextProbe",
        "cas" => "spec.podSecurityContext, spec.containerSecurityContextCAS and spec.containerSecurityContextAudit",
        "backup-controller" => {
            "spec.backup-controller.podSecurityContext and spec.backup-controller.containerSecurityContext"
        }
        "safety-service" => "spec.safetyService.podSecurityContext and spec.safetyService.containerSecurityContext",
        _ => "spec.resources, and that the pod security level of the namespace is privileged",
    }
}

/// Between two crashes the container runs for a moment; that is no recovery.
fn keeps_crashing(container: &ContainerStatus) -> bool {
    !container.ready && container.restart_count >= 3 && container.last_state.terminated.is_some()
}

/// It had its time.
pub fn not_ready(node: &str, pod: &str) -> Problem {
    Problem::new(
        "PodNotReady",
        format!("node {node}: pod {pod} is not ready, and nothing says why; see: kubectl describe pod {pod}"),
    )
}

/// The log cannot be read, so the public key is unknown. No problem of LAS itself.
pub fn no_log(pod: &str, failure: &QueryFailure) -> String {
    format!(
        "the log of pod {pod} cannot be read ({failure}), so its public key is not known; let the operator read pods/log in \
         the namespace of the pods"
    )
}
