//! I3: who may write to the API server.

use crate::sources::{Source, has_word};

/// The files of the controller that write. `api` is the one place that knows how a request looks; it is private.
const WRITERS: [&str; 4] = ["api", "apply", "report", "lease"];

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
    if has_word(&code, "pub mod api") || has_word(&code, "pub use api") {
        found.push(format!("{} lets the requests out of the crate", source.path));
    }
    found
}

fn is_writer(path: &str) -> bool {
    WRITERS.iter().any(|name| {
        let file = format!("host/controller/src/{name}");
        path == format!("{file}.rs") || path.starts_with(&format!("{file}/"))
    })
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
    }

    #[test]
    fn requests_that_leave_the_controller_are_found() {
        assert_eq!(outside_of_writers(&Source::sample("host/controller/src/lib.rs", "pub mod api;")).len(), 1);
        assert!(outside_of_writers(&Source::sample("host/controller/src/lib.rs", "mod api;")).is_empty());
    }
}
