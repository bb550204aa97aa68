//! What pods can be asked: their logs, and commands in their containers.

use futures::future::join3;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Client, Resource,
    api::{AttachParams, LogParams},
    core::Request,
};
use operator_core::{CommandQuery, CommandResult, Finding, PodLogQuery, QueryFailure};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::api;

/// At most so much of a log is read, in bytes.
const LOG_LIMIT: i64 = 1024 * 1024;
/// At most so much of each output of a command is kept, in bytes.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// Lines of a container's log that contain a text.
pub(super) async fn log(client: &Client, query: &PodLogQuery) -> Result<Finding, QueryFailure> {
    valid_name(&query.namespace)?;
    valid_name(&query.pod)?;
    let params =
        LogParams { container: Some(query.container.clone()), limit_bytes: Some(LOG_LIMIT), ..LogParams::default() };
    let request = Request::new(Pod::url_path(&(), Some(&query.namespace))).logs(&query.pod, &params);
    let request = request.map_err(|error| QueryFailure::Failed(error.to_string()))?;
    let text = client.request_text(request).await;
    let text = text.map_err(|error| failure(&format!("pod {}/{}", query.namespace, query.pod), error))?;
    let lines = text.lines().filter(|line| line.contains(&query.contains)).map(str::to_owned);
    Ok(Finding::Lines(lines.take(query.limit as usize).collect()))
}

/// Runs a command in a container, without a shell.
pub(super) async fn command(client: &Client, query: &CommandQuery) -> Result<Finding, QueryFailure> {
    valid_name(&query.namespace)?;
    valid_name(&query.pod)?;
    let params = AttachParams {
        container: Some(query.container.clone()),
        stdin: false,
        stdout: true,
        stderr: true,
        ..AttachParams::default()
    };
    let attached = api::exec(client, &query.namespace, &query.pod, &query.command, &params).await;
    let what = format!("pod {}/{}", query.namespace, query.pod);
    let mut process = attached.map_err(|error| failure(&what, error))?;
    let (stdout, stderr, status) = (process.stdout(), process.stderr(), process.take_status());
    let ended = async { if let Some(status) = status { status.await } else { None } };
    let (stdout, stderr, status) = join3(output(stdout), output(stderr), ended).await;
    let status = status.ok_or_else(|| QueryFailure::Unreachable(format!("{what}: the connection ended too early")))?;
    Ok(Finding::Command(CommandResult { code: code(&what, &status)?, stdout, stderr }))
}

/// What a command prints; what is over the limit is read and dropped, since a command whose output nobody reads never ends.
async fn output(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (Some(mut from), mut kept) = (from, Vec::new()) else { return Vec::new() };
    let mut buffer = vec![0; 4096];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend(buffer.iter().take(read.min(room)));
    }
    kept
}

/// The exit code, as the kubelet tells it.
fn code(what: &str, status: &Status) -> Result<i32, QueryFailure> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref()).into_iter().flatten();
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.find_map(|cause| cause.message.as_ref()?.parse().ok());
    let why = status.message.as_deref().unwrap_or("no reason is given");
    code.ok_or_else(|| QueryFailure::Failed(format!("{what}: the command did not run: {why}")))
}

/// A name becomes part of a path.
pub(super) fn valid_name(name: &str) -> Result<(), QueryFailure> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(valid) {
        return Ok(());
    }
    Err(QueryFailure::Failed(format!("{name:?} is no name of a Kubernetes object")))
}

/// What the API server says instead of an answer about `what`.
pub(super) fn failure(what: &str, error: kube::Error) -> QueryFailure {
    match error {
        kube::Error::Api(status) if status.code == 404 => QueryFailure::NotFound(what.to_owned()),
        kube::Error::Api(status) if status.code == 403 => QueryFailure::Denied(status.message.clone()),
        kube::Error::Api(status) => QueryFailure::Failed(status.message.clone()),
        other => QueryFailure::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_exit_code_of_a_command_is_what_the_kubelet_says() {
        let told = |status| code("pod a/b", &from_value(status).unwrap());
        assert_eq!(told(json!({"status": "Success"})), Ok(0));
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        assert_eq!(told(failed), Ok(3));
        let absent = json!({"status": "Failure", "message": "exec: no such file"});
        assert_eq!(told(absent).unwrap_err().to_string(), "pod a/b: the command did not run: exec: no such file");
    }

    #[tokio::test]
    async fn what_a_command_prints_is_cut_and_read_to_its_end() {
        let printed = vec![b'x'; OUTPUT_LIMIT + 5];
        let mut reader = &*printed;
        assert_eq!(output(Some(&mut reader)).await.len(), OUTPUT_LIMIT);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_name_that_would_be_another_path_is_refused() {
        for name in ["", "..", "a/b", "a?x", "A"] {
            assert!(valid_name(name).is_err(), "{name}");
        }
        assert!(valid_name("las-4x7.node").is_ok());
    }
}
