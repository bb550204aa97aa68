//! What every test with a cluster ends with: no request of an operator was forbidden unless the test announced it, nothing panicked, and
//! nothing tells a marked secret.

use std::collections::BTreeSet;

use serde_json::Value;
use test_support::canary;

/// A request that a test expects to be forbidden: its verb and its resource, such as `list` and `nodes`.
pub type Announced = (String, String);

/// The requests that were forbidden and not announced, and what was announced and not forbidden, one line each. `requests` are events of an
/// audit log.
pub fn forbidden(requests: &[Value], announced: &[Announced]) -> Vec<String> {
    let refused: Vec<&Value> = requests.iter().filter(|event| is_forbidden(event)).collect();
    let of = |event: &Value| -> Announced { (text(event, "/verb"), text(event, "/objectRef/resource")) };
    let unexpected = refused.iter().filter(|event| !announced.contains(&of(event)));
    let mut lines: BTreeSet<String> = unexpected.map(|event| described(event)).collect();
    let missed = announced
        .iter()
        .filter(|(verb, resource)| !refused.iter().any(|event| of(event) == (verb.clone(), resource.clone())));
    lines.extend(
        missed.map(|(verb, resource)| format!("`{verb} {resource}` was announced as forbidden, and never was")),
    );
    lines.into_iter().collect()
}

fn is_forbidden(event: &Value) -> bool {
    event.pointer("/responseStatus/code").is_some_and(|code| *code == 403)
}

fn described(event: &Value) -> String {
    let user = text(event, "/user/username");
    let why = text(event, "/responseStatus/message");
    format!("{user} may not {} {}: {why}", text(event, "/verb"), text(event, "/requestURI"))
}

fn text(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The lines of a log that tell a panic.
pub fn panics(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("panicked at")).collect()
}

/// The lines that tell a marked secret, whoever reads them.
pub fn secrets(text: &str) -> Vec<&str> {
    text.lines().filter(|line| canary::is_told(line)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(verb: &str, resource: &str, code: u16) -> Value {
        json!({"verb": verb, "requestURI": format!("/api/v1/{resource}"), "user": {"username": "operator"},
            "objectRef": {"resource": resource}, "responseStatus": {"code": code, "message": "no"}})
    }

    fn announced(verb: &str, resource: &str) -> Announced {
        (verb.to_owned(), resource.to_owned())
    }

    #[test]
    fn a_forbidden_request_is_told_once_unless_it_was_announced() {
        let requests = [request("list", "nodes", 403), request("list", "nodes", 403), request("list", "pods", 200)];
        assert_eq!(forbidden(&requests, &[]), ["operator may not list /api/v1/nodes: no"]);
        assert_eq!(forbidden(&requests, &[announced("list", "nodes")]), Vec::<String>::new());
        assert_eq!(forbidden(&requests, &[announced("watch", "nodes")]).len(), 2, "another verb is another request");
    }

    #[test]
    fn what_was_announced_and_did_not_happen_is_told_too() {
        let expected = "`list nodes` was announced as forbidden, and never was";
        assert_eq!(forbidden(&[request("list", "nodes", 404)], &[announced("list", "nodes")]), [expected]);
    }

    #[test]
    fn panics_and_marked_secrets_are_found_in_a_log() {
        let log = format!("all is well\nthread 'main' panicked at a.rs:1:2:\n{{\"token\":\"{}\"}}\n", canary::MARK);
        assert_eq!((panics(&log).len(), secrets(&log).len()), (1, 1));
        assert_eq!((panics("all is well").len(), secrets("all is well").len()), (0, 0));
    }
}
