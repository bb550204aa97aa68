//! Which test belongs to which ring. A test that belongs to none is an error, so that none can be forgotten.

use std::path::Path;

use clap::ValueEnum;

/// A group of tests with the same needs, from fast to slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Ring {
    /// Types, decisions, packages, modules as native Rust, documentation, architecture.
    Pure,
    /// Modules in the sandbox.
    Engine,
    /// Reconcile, simulator, command line.
    Operator,
    /// Scripts on the embedded cluster.
    Scenarios,
    /// Against a real API server.
    Api,
    /// Against a real node.
    Node,
}

impl Ring {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 6] =
        [Self::Pure, Self::Engine, Self::Operator, Self::Scenarios, Self::Api, Self::Node];

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Engine => "engine",
            Self::Operator => "operator",
            Self::Scenarios => "scenarios",
            Self::Api => "api",
            Self::Node => "node",
        }
    }

    /// What a person reads beside the name.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Pure => "types, decisions, packages, modules as native Rust, documentation, architecture",
            Self::Engine => "modules in the sandbox, the misbehaving ones above all",
            Self::Operator => "reconcile, simulator, command line",
            Self::Scenarios => "scripts on the embedded cluster, compared with golden transcripts",
            Self::Api => "a real API server",
            Self::Node => "a real node",
        }
    }

    /// Whether its tests load built modules.
    pub(crate) fn needs_modules(self) -> bool {
        !matches!(self, Self::Pure)
    }

    /// Whether its tests need a real Kubernetes.
    pub(crate) fn needs_cluster(self) -> bool {
        matches!(self, Self::Api | Self::Node)
    }

    /// The ring of a test program: the folder of its package within the checkout, and the name of its target.
    pub(crate) fn of(folder: &Path, target: &str) -> Option<Self> {
        let mut parts = folder.iter().map(|part| part.to_string_lossy());
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        match (first.as_ref(), second.as_deref()) {
            ("wit" | "guests", _)
            | ("host", None | Some("core" | "package" | "xtask"))
            | ("tests", Some("stand-in-cas" | "support")) => Some(Self::Pure),
            ("host", Some("engine")) | ("tests", Some("fixtures" | "bench")) => Some(Self::Engine),
            ("host", Some("controller" | "webhook" | "simulator" | "modctl")) => Some(Self::Operator),
            ("tests", Some("cluster")) => match target {
                "cluster" => Some(Self::Pure),
                "node" => Some(Self::Node),
                _ => Some(Self::Api),
            },
            ("tests", None) => match target {
                "architecture" | "operator_tests" => Some(Self::Pure),
                "engine" | "memory" | "native" => Some(Self::Engine),
                "scenarios" => Some(Self::Scenarios),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_program_of_the_tests_package_has_its_ring() {
        let of = |target| Ring::of(Path::new("tests"), target);
        assert_eq!(of("architecture"), Some(Ring::Pure));
        assert_eq!((of("engine"), of("native")), (Some(Ring::Engine), Some(Ring::Engine)));
        assert_eq!(of("scenarios"), Some(Ring::Scenarios));
        assert_eq!(of("new-one"), None, "a new test program has to be given a ring");
    }

    #[test]
    fn a_new_folder_under_host_has_to_be_given_a_ring() {
        assert_eq!(Ring::of(Path::new("host/core"), "operator_core"), Some(Ring::Pure));
        assert_eq!(Ring::of(Path::new("host/new"), "new"), None);
    }

    #[test]
    fn test_programs_that_start_a_cluster_have_the_ring_of_what_they_start() {
        let of = |target| Ring::of(Path::new("tests/cluster"), target);
        assert_eq!((of("api"), of("webhook")), (Some(Ring::Api), Some(Ring::Api)));
        assert_eq!(of("chart"), Some(Ring::Api), "Helm is one of the ring's programs");
        assert_eq!((of("node"), of("cluster")), (Some(Ring::Node), Some(Ring::Pure)));
    }

    #[test]
    fn a_new_module_is_tested_without_a_word_here() {
        assert_eq!(Ring::of(Path::new("guests/new"), "new"), Some(Ring::Pure));
    }
}
