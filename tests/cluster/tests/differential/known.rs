//! The differences that stay, each with its reason, and what was seen of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, Mutex},
};

use serde_json::Value;

use super::{compare::Difference, kinds::Kind};

/// A difference that stays.
pub(crate) struct Known {
    /// Of which kinds; none are all.
    kinds: &'static [&'static str],
    /// Where: parts of a path, of which `*` is any one and `**` any number.
    at: &'static [&'static str],
    /// What both sides of it hold: the simulator's, a bar, the server's.
    holds: &'static str,
    /// Why it stays.
    pub(crate) reason: &'static str,
}

/// At most so many may stay.
pub(crate) const MOST: usize = 20;

pub(crate) const KNOWN: &[Known] = &[
    Known {
        kinds: &[],
        at: &["/message", "/details/causes/*/message"],
        holds: "",
        reason: "the simulator words its refusals itself; code, reason and fields are the server's",
    },
    Known {
        kinds: &["Service"],
        at: &["**/spec/clusterIP", "**/spec/clusterIPs/0", "**/spec/ports/*/nodePort"],
        holds: "",
        reason: "the simulator gives addresses and ports in order, so that scripts repeat; the server draws them",
    },
    Known {
        kinds: &["Service"],
        at: &["code"],
        holds: " not found\" | \"201 ",
        reason: "the server makes a Service that is not there also of an update of its status",
    },
    Known {
        kinds: &["Node"],
        at: &["**/spec/taints"],
        holds: "node.kubernetes.io/not-ready",
        reason: "a new node is tainted until a controller finds it ready, and the simulator has no such controller",
    },
    Known {
        kinds: &["Deployment", "Pod"],
        at: &[
            "**/status/conditions/*/lastProbeTime",
            "**/f:lastProbeTime",
            "**/status/conditions/*/lastUpdateTime",
            "**/f:lastUpdateTime",
            "**/status/conditions/*/lastTransitionTime",
            "**/f:lastTransitionTime",
        ],
        holds: "",
        reason: "times that nobody set are written as nulls; the server's description of its types does not tell which",
    },
    Known {
        kinds: &["Deployment"],
        at: &["**/status/conditions/*/message", "**/f:message", "**/k:{\"type\":\"Empty\"}"],
        holds: "",
        reason: "which empty texts are not stored the server's description of its types does not tell",
    },
    Known {
        kinds: &["Deployment"],
        at: &["code"],
        holds: "field not declared in schema",
        reason: "the table holds fields that are merged in a way of their own, not all, so unknown ones are stored",
    },
    Known {
        kinds: &["Deployment"],
        at: &["**/spec/unknown", "**/f:unknown", "/metadata/generation"],
        holds: "",
        reason: "an unknown field of a built-in kind is stored, as said above",
    },
    Known {
        kinds: &["Deployment"],
        at: &["**/metadata/managedFields/**"],
        holds: "f:unknown",
        reason: "somebody owns an unknown field of a built-in kind, as said above",
    },
    Known {
        kinds: &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        at: &["**/metadata/generation"],
        holds: "",
        reason: "to the server an empty list of webhooks is another one than none, and counts as a change",
    },
    Known {
        kinds: &["ClusterRole", "Role"],
        at: &["**/rules"],
        holds: "null | []",
        reason: "the server answers a write that changes nothing with the empty list that was sent, any other with a null",
    },
    Known {
        kinds: &["SignedPolicy", "EncryptedPolicy"],
        at: &["code"],
        holds: "must start with https",
        reason: "rules in CEL are left to the server: another engine would not agree with it",
    },
];

static SEEN: LazyLock<Mutex<BTreeSet<usize>>> = LazyLock::new(Mutex::default);

/// Whether a difference is one of those that stay; it counts as seen.
pub(crate) fn is_known(kind: &Kind, difference: &Difference) -> bool {
    let parts: Vec<&str> = difference.at.split('/').collect();
    let shown = |side: &Option<Value>| side.as_ref().map(ToString::to_string).unwrap_or_default();
    let sides = format!("{} | {}", shown(&difference.simulator), shown(&difference.server));
    let found = KNOWN.iter().position(|known| {
        let fits_one = |pattern: &&str| fits(&pattern.split('/').collect::<Vec<_>>(), &parts);
        let kinds = known.kinds;
        (kinds.is_empty() || kinds.contains(&kind.kind)) && sides.contains(known.holds) && known.at.iter().any(fits_one)
    });
    SEEN.lock().unwrap().extend(found);
    found.is_some()
}

fn fits(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=parts.len()).any(|skipped| fits(rest, &parts[skipped..])),
        (Some((first, pattern)), Some((part, parts))) => (*first == "*" || first == part) && fits(pattern, parts),
        _ => false,
    }
}

/// The reasons of those that no answer showed.
pub(crate) fn unseen() -> Vec<&'static str> {
    let seen = SEEN.lock().unwrap();
    KNOWN.iter().enumerate().filter(|(index, _)| !seen.contains(index)).map(|(_, known)| known.reason).collect()
}

/// How often a sort of request was sent to a kind, and how often it was answered well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
}

static SENT: LazyLock<Mutex<BTreeMap<(String, String), Count>>> = LazyLock::new(Mutex::default);

/// Counts a request of this sort to this kind.
pub(crate) fn sent(label: String, kind: &Kind, code: u16) {
    let mut all = SENT.lock().unwrap();
    let count = all.entry((label, kind.name())).or_default();
    count.sent += 1;
    count.accepted += usize::from(code < 300);
}

/// How often each sort of request was sent to each kind.
pub(crate) fn counts() -> BTreeMap<(String, String), Count> {
    SENT.lock().unwrap().clone()
}
