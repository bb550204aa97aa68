//! Which objects belong to a parent, by the rules of `ApplySet` (Kubernetes KEP-3659): members carry a label with the set's
//! id, and the parent's annotations tell in which kinds and namespaces to look for them. So whoever reads the cluster with
//! kubectl sees the same inventory, and a crash between two writes leaves nothing unknown.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::ObjectRef;

/// Label of members: the id of the set they belong to.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// Label of the parent: the id of its set.
pub const ID: &str = "applyset.kubernetes.io/id";
/// Annotation of the parent: who maintains the set.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Annotation of the parent: in which kinds there are members, as `Kind.group`, separated by commas.
pub const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// Annotation of the parent: in which namespaces besides its own there are members, separated by commas.
pub const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// Where the members of one parent's set are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Kinds as `Kind.group`, or `Kind` in the core group.
    pub group_kinds: BTreeSet<String>,
    /// Namespaces other than the parent's own.
    pub namespaces: BTreeSet<String>,
}

/// The id of a parent's set, as the `ApplySet` rules compute it from name, namespace, kind and group.
pub fn id(parent: &ObjectRef) -> String {
    let namespace = parent.namespace.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("{}.{namespace}.{}.{}", parent.name, parent.kind, parent.group()));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hash))
}

/// `Kind.group`, as `ApplySet` annotations write it.
pub fn group_kind(identity: &ObjectRef) -> String {
    match identity.group() {
        "" => identity.kind.clone(),
        group => format!("{}.{group}", identity.kind),
    }
}

impl Inventory {
    /// Reads the inventory from the parent's annotations. A missing annotation is an empty inventory.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let set = |key: &str| {
            let text = annotations.get(key).map(String::as_str).unwrap_or_default();
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        Self { group_kinds: set(GROUP_KINDS), namespaces: set(NAMESPACES) }
    }

    /// The inventory that these members need.
    pub fn of<'a>(parent: &ObjectRef, members: impl IntoIterator<Item = &'a ObjectRef>) -> Self {
        let mut inventory = Self::default();
        for member in members {
            inventory.group_kinds.insert(group_kind(member));
            if let Some(namespace) = member.namespace.as_ref().filter(|n| Some(*n) != parent.namespace.as_ref()) {
                inventory.namespaces.insert(namespace.clone());
            }
        }
        inventory
    }

    /// Both together: what must be on record before the first write.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self { group_kinds: &self.group_kinds | &other.group_kinds, namespaces: &self.namespaces | &other.namespaces }
    }

    /// Whether a member of this kind may exist in this namespace.
    pub fn covers(&self, parent: &ObjectRef, member: &ObjectRef) -> bool {
        let beside =
            |namespace: &String| parent.namespace.as_ref() == Some(namespace) || self.namespaces.contains(namespace);
        self.group_kinds.contains(&group_kind(member)) && member.namespace.as_ref().is_none_or(beside)
    }

    /// The parent's annotations, in the form in which [`Inventory::read`] reads them.
    pub fn annotations(&self) -> [(&'static str, String); 2] {
        let joined = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        [(GROUP_KINDS, joined(&self.group_kinds)), (NAMESPACES, joined(&self.namespaces))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_what_the_applyset_rules_compute() {
        let parent = ObjectRef::namespaced("apps/v1", "Deployment", "default", "web");
        // sha256("web.default.Deployment.apps"), base64url without padding
        assert_eq!(id(&parent).len(), "applyset--v1".len() + 43);
        assert_ne!(id(&parent), id(&ObjectRef::namespaced("apps/v1", "Deployment", "other", "web")));
    }

    #[test]
    fn an_inventory_survives_its_annotations() {
        let parent = ObjectRef::cluster("example.org/v1", "Thing", "a");
        let members = [
            ObjectRef::namespaced("apps/v1", "DaemonSet", "one", "a"),
            ObjectRef::namespaced("v1", "Service", "two", "a"),
        ];
        let inventory = Inventory::of(&parent, &members);
        let annotations = inventory.annotations().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        assert_eq!(Inventory::read(&annotations), inventory);
        assert!(inventory.covers(&parent, &members[0]));
        assert!(!inventory.covers(&parent, &ObjectRef { namespace: Some("three".into()), ..members[0].clone() }));
    }

    #[test]
    fn a_parent_without_annotations_has_an_empty_inventory() {
        assert_eq!(Inventory::read(&BTreeMap::new()), Inventory::default());
    }
}
