//! How many bytes are kept of what parents send and are told: so many for one of them, and so many for its namespace, so that whoever may
//! make resources cannot have the operator run out of memory.

use operator_core::{Finding, HeaderValue, HttpRequest, ObjectRef};
use tokio::sync::OwnedSemaphorePermit;

use super::{Whom, turns::Groups};
use crate::Found;

/// Bytes for one parent. As much as a module could take in: snapshots with it are copied into its memory.
const PARENT: usize = 4 * 1024 * 1024;
/// Bytes for all parents of one namespace.
const NAMESPACE: usize = 32 * 1024 * 1024;

/// Hands out shares.
pub(super) struct Quotas {
    parents: Groups<ObjectRef>,
    namespaces: Groups,
}

/// Some bytes of a quota, until this is dropped.
#[derive(Default)]
pub(super) struct Share(#[expect(dead_code, reason = "held for their drop")] Vec<OwnedSemaphorePermit>);

impl Default for Quotas {
    fn default() -> Self {
        Self { parents: Groups::new(PARENT), namespaces: Groups::new(NAMESPACE) }
    }
}

impl Quotas {
    /// So many bytes, or why there are not as many left.
    pub(super) fn take(&self, whom: &Whom, bytes: usize) -> Result<Share, String> {
        if bytes == 0 {
            return Ok(Share::default());
        }
        let many = u32::try_from(bytes).unwrap_or(u32::MAX);
        let of_parent = self.parents.of(&whom.parent).try_acquire_many_owned(many).map_err(|_| {
            format!("what this resource sends and is told is more than {PARENT} bytes together; ask for less, or for fewer lines")
        })?;
        let of_namespace = self.namespaces.of(whom.namespace.as_str()).try_acquire_many_owned(many).map_err(|_| {
            let namespace = &whom.namespace;
            format!(
                "what the resources of namespace {namespace} send and are told is more than {NAMESPACE} bytes together; spread them over \
                 more namespaces, or have fewer"
            )
        })?;
        Ok(Share(vec![of_parent, of_namespace]))
    }
}

/// Bytes of an outcome, roughly.
pub(super) fn of_outcome(found: &Found) -> usize {
    match &found.outcome {
        Ok(Finding::Http(response)) => response.body.len(),
        Ok(Finding::Command(result)) => result.stdout.len() + result.stderr.len(),
        Ok(Finding::Lines(lines)) => lines.iter().map(String::len).sum(),
        Ok(Finding::Deleted(_) | Finding::Objects(_)) | Err(_) => 0,
    }
}

/// Bytes of a request, roughly.
pub(super) fn of_request(request: &HttpRequest) -> usize {
    let value = |value: &HeaderValue| match value {
        HeaderValue::Plain(text) => text.len(),
        HeaderValue::Secret(_) => 0,
    };
    let headers: usize = request.headers.iter().map(|(name, given)| name.len() + value(given)).sum();
    request.url.len() + headers + request.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(namespace: &str, name: &str) -> Whom {
        let parent = ObjectRef::namespaced("example.org/v1", "Question", namespace, name);
        Whom { module: "m".into(), parent, namespace: namespace.into(), secrets: [].into() }
    }

    #[test]
    fn a_parent_gets_its_share_and_what_it_gives_back_it_gets_again() {
        let quotas = Quotas::default();
        let (one, other) = (whom("team", "one"), whom("team", "other"));
        let held = quotas.take(&one, PARENT).unwrap();
        let why = quotas.take(&one, 1).err().unwrap();
        assert!(why.starts_with("what this resource sends and is told is more than 4194304 bytes"), "{why}");
        assert!(quotas.take(&one, 0).is_ok() && quotas.take(&other, 1).is_ok());
        drop(held);
        assert!(quotas.take(&one, PARENT).is_ok());
    }

    #[test]
    fn parents_of_one_namespace_share_its_quota_and_take_nothing_of_another_one() {
        let quotas = Quotas::default();
        let _held: Vec<Share> =
            (0..8).map(|number| quotas.take(&whom("team", &number.to_string()), PARENT).unwrap()).collect();
        let why = quotas.take(&whom("team", "one more"), 1).err().unwrap();
        assert!(why.starts_with("what the resources of namespace team send"), "{why}");
        assert!(quotas.take(&whom("elsewhere", "one more"), 1).is_ok());
    }
}
