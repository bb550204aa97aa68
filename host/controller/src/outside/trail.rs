//! Who had what done outside, as structured log lines of the target `trail`: each action, and each question when it is asked for the first
//! time and when its outcome changes. What is asked every minute would otherwise be all that the log holds. Names only: no body, no header,
//! no output, and of a URL neither query nor fragment.

use operator_core::{
    Action, Deed, Finding, HttpRequest, Query, QueryFailure, Question, contract::extension::REGISTRY_CREDENTIALS,
};
use tracing::info;

use super::Whom;
use crate::Found;

/// A question was asked.
pub(super) fn asked(whom: &Whom, query: &Query, found: &Found) {
    let (what, target, mut secrets) = match &query.question {
        Question::Objects(_) => return,
        Question::PodLog(log) => ("log", format!("{}/{} {}", log.namespace, log.pod, log.container), Vec::new()),
        Question::Command(command) => {
            let program = command.command.first().map_or("", String::as_str);
            let target = format!("{}/{} {} {program}", command.namespace, command.pod, command.container);
            ("exec", target, Vec::new())
        }
        Question::Http(request) => ("http", target(request), secrets(request)),
    };
    let pull = query.extensions.iter().filter(|(name, _)| name == REGISTRY_CREDENTIALS);
    secrets.extend(pull.map(|(_, name)| String::from_utf8_lossy(name).into_owned()));
    record(whom, what, &target, &secrets, found);
}

/// An action was done.
pub(super) fn acted(whom: &Whom, action: &Action, found: &Found) {
    match &action.deed {
        Deed::Http(request) => record(whom, "http", &target(request), &secrets(request), found),
        Deed::Delete { identity, .. } => record(whom, "delete", &identity.to_string(), &[], found),
    }
}

fn record(whom: &Whom, what: &'static str, target: &str, secrets: &[String], found: &Found) {
    let Whom { module, parent, namespace, .. } = whom;
    let secrets: Vec<String> = secrets.iter().map(|name| format!("{namespace}/{name}")).collect();
    let secrets = secrets.join(", ");
    info!(target: "trail", module, %parent, what, on = target, secrets, outcome = outcome(found), "outside");
}

fn target(request: &HttpRequest) -> String {
    let url = request.url.split(['?', '#']).next().unwrap_or_default();
    format!("{} {url}", request.method)
}

/// The Secrets that a request names, as `name key`.
fn secrets(request: &HttpRequest) -> Vec<String> {
    request.secrets().map(|key| format!("{} {}", key.name, key.key)).collect()
}

fn outcome(found: &Found) -> String {
    match &found.outcome {
        Ok(Finding::Http(response)) => response.status.to_string(),
        Ok(Finding::Command(result)) => format!("exit code {}", result.code),
        Ok(Finding::Lines(lines)) => format!("{} lines", lines.len()),
        Ok(Finding::Deleted(existed)) => if *existed { "deleted" } else { "was gone" }.to_owned(),
        Ok(Finding::Objects(_)) => "found".to_owned(),
        Err(QueryFailure::Pending) => "pending".to_owned(),
        Err(QueryFailure::Denied(_)) => "denied".to_owned(),
        Err(QueryFailure::NotFound(_)) => "not found".to_owned(),
        Err(QueryFailure::TimedOut) => "timed out".to_owned(),
        Err(QueryFailure::Unreachable(_)) => "unreachable".to_owned(),
        Err(QueryFailure::Failed(_)) => "failed".to_owned(),
    }
}
