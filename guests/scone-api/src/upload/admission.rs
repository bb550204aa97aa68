//! What is refused of any policy before anybody is asked.

use kube::ResourceExt;
use operator_guest::Cause;

use super::{
    address,
    belief::{self, Belief, TRUST, pin_name},
};

/// What is wrong with the address and with whom to believe there. `address` is `spec.casAddress`.
pub fn causes<P: ResourceExt>(kind: &str, object: &P, address: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(fault) = address::fault(address) {
        causes.push(Cause::invalid("spec.casAddress", fault));
    }
    match belief::belief(object.annotations()) {
        Err(cause) => causes.push(cause),
        Ok(Belief::FirstUse) if pin_name(&kind.to_lowercase(), &object.name_any()).len() > 253 => {
            let message =
                "is too long for the ConfigMap that keeps the certificate; shorten it, or pin the certificate";
            causes.push(Cause::invalid("metadata.name", format!("{message} with annotation {TRUST}=sha256:<hex>")));
        }
        Ok(_) => {}
    }
    causes
}

/// What is odd about the address.
pub fn warnings(address: &str) -> Option<&'static str> {
    (address::fault(address).is_none() && !address::has_port(address))
        .then_some("spec.casAddress names no port, so 443 is taken; CAS listens on 8081 unless told otherwise")
}
