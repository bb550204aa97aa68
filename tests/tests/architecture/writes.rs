//! I3: who may write to the API server.

use crate::sources::{Source, has_word};

/// The files of the controller that write. `api` is the one place that knows how a request looks; it is private.
const WRITERS: [&str; 4] = ["api", "apply", "report", "lease"];

/// Those of the webhooks: configurations, the certificates' Secret, and the self-test, whose probes are never stored. `requests` is the
/// one place that knows how a request looks; it is private.
const WEBHOOK_WRITERS: [&str; 4] = ["requests", "registration", "certificates/secret", "probe"];

/// The crates that hold a client of a real API server. The simulator is the server.
const CRATES: [&str; 3] = ["host/controller", "host/webhook", "host"];

/// What a write looks like, with kube's types or with plain requests.
const WRITES: [&str; 15] = [
    ".patch(",
    ".patch_status(",
    ".patch_metadata(",
    ".create(",
    ".replace_status(",
    ".delete(",
    ".delete_collection(",
    ".evict(",
    "Method::PATCH",
    "Method::POST",
    "Method::PUT",
    "Method::DELETE",
    "Request::builder",
    "Api::new",
    "Api::namespaced",
];

pub(crate) fn outside_of_writers(source: &Source) -> Vec<String> {
    let watched = CRATES.iter().any(|folder| source.is_under(&format!("{folder}/src")));
    if !watched || source.is_test() || !source.is_rust() || is_writer(&source.path) {
        return Vec::new();
    }
    let code = source.code();
    let mut found: Vec<String> = WRITES
        .iter()
        .filter(|write| has_word(&code, write))
        .map(|write| format!("{} writes: {write}", source.path))
        .collect();
    if ["api", "requests"]
        .iter()
        .any(|name| has_word(&code, &format!("pub mod {name}")) || has_word(&code, &format!("pub use {name}")))
    {
        found.push(format!("{} lets the requests out of the crate", source.path));
    }
    found
}

fn is_writer(path: &str) -> bool {
    let controller = WRITERS.iter().map(|name| format!("host/controller/src/{name}"));
    let webhook = WEBHOOK_WRITERS.iter().map(|name| format!("host/webhook/src/{name}"));
    controller.chain(webhook).any(|file| path == format!("{file}.rs") || path.starts_with(&format!("{file}/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_in_the_reconciler_is_found() {
        let text = "api.delete(&name).await?;\nlet m = Method::PATCH;";
        assert_eq!(outside_of_writers(&Source::sample("host/controller/src/reconcile.rs", text)).len(), 2);
        assert!(outside_of_writers(&Source::sample("host/controller/src/apply.rs", text)).is_empty());
        assert!(outside_of_writers(&Source::sample("host/controller/src/apply/stage.rs", text)).is_empty());
    }

    #[test]
    fn a_write_in_the_webhook_is_found_even_in_a_file_called_apply() {
        assert_eq!(outside_of_writers(&Source::sample("host/webhook/src/apply.rs", "x.create(&y)")).len(), 1);
        assert!(outside_of_writers(&Source::sample("host/webhook/src/registration.rs", "Method::PATCH")).is_empty());
        assert_eq!(outside_of_writers(&Source::sample("host/webhook/src/certificates.rs", "Method::PUT")).len(), 1);
    }

    #[test]
    fn requests_that_leave_the_controller_are_found() {
        assert_eq!(outside_of_writers(&Source::sample("host/controller/src/lib.rs", "pub mod api;")).len(), 1);
        assert!(outside_of_writers(&Source::sample("host/controller/src/lib.rs", "mod api;")).is_empty());
    }
}
