//! Verbs that play what is outside the cluster: servers, and programs in pods.

use operator_core::{CommandResult, HttpResponse, QueryFailure, schema::nearest};

use super::{
    expect::check,
    steps::{Run, Stop},
};
use crate::outside::{Certificate, Program, Reply, Requests};

const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];
const FAILURES: [&str; 3] = ["failed", "timed-out", "unreachable"];

impl Run<'_> {
    /// From now on, such requests are answered so.
    pub(super) fn answer(&mut self, method: &str, url: &str, status: &str, rest: &str) -> Result<(), Stop> {
        let to = requests(method, url)?;
        let status: u16 = status
            .parse()
            .ok()
            .filter(|status| (100..600).contains(status))
            .ok_or_else(|| format!("{status:?} is no HTTP status; write a number such as 200"))?;
        let (body, after) = condition(rest)?;
        let body = self.text(body)?.into_bytes();
        let outcome = Ok(HttpResponse { status, headers: Vec::new(), body });
        self.world.add_reply(Reply { to, outcome, after });
        Ok(())
    }

    /// From now on, such requests fail.
    pub(super) fn no_answer(&mut self, method: &str, url: &str, failure: &[&str]) -> Result<(), Stop> {
        let to = requests(method, url)?;
        let failure = match failure {
            ["timed-out"] => QueryFailure::TimedOut,
            ["unreachable", why @ ..] if !why.is_empty() => QueryFailure::Unreachable(why.join(" ")),
            ["failed", why @ ..] if !why.is_empty() => QueryFailure::Failed(why.join(" ")),
            other => {
                let first = other.first().copied().unwrap_or_default();
                let hint = nearest(first, FAILURES).filter(|nearest| nearest != first);
                let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
                let message = format!("write: no-answer METHOD URL timed-out | unreachable WHY | failed WHY{hint}");
                return Err(message.into());
            }
        };
        self.world.add_reply(Reply { to, outcome: Err(failure), after: None });
        Ok(())
    }

    /// From now on, the servers show this certificate.
    pub(super) fn certificate(&mut self, url: &str, sha256: &str, rest: &[&str]) -> Result<(), Stop> {
        if !url.starts_with("https://") {
            return Err(format!("{url:?} has no certificate; write https://…, with * at its end if need be").into());
        }
        if sha256.len() != 64 || !sha256.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
            return Err(format!("{sha256:?} is no SHA-256; write 64 lower-case hex digits").into());
        }
        let public = match rest {
            [] => false,
            ["public"] => true,
            _ => return Err("write: certificate URL SHA256 [public]".to_owned().into()),
        };
        self.world.add_certificate(Certificate { url: url.to_owned(), sha256: sha256.to_owned(), public });
        Ok(())
    }

    /// From now on, the program does this in containers of such images.
    pub(super) fn command(&mut self, image: &str, program: &str, code: &str, output: &str) -> Result<(), Stop> {
        let code = code.parse().map_err(|_| format!("{code:?} is no exit code; write a number such as 0"))?;
        let stdout = self.text(output)?.into_bytes();
        let result = CommandResult { code, stdout, stderr: Vec::new() };
        self.world.add_program(Program { image: image.to_owned(), command: program.to_owned(), result });
        Ok(())
    }

    /// A text as it is written, or of a file: `@FILE`.
    fn text(&self, text: &str) -> Result<String, Stop> {
        match text.strip_prefix('@') {
            Some(file) => Ok(self.files.read(file)?),
            None => Ok(unquoted(text).to_owned()),
        }
    }
}

/// A text without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn requests(method: &str, url: &str) -> Result<Requests, Stop> {
    if !METHODS.contains(&method) {
        let hint = nearest(method, METHODS).unwrap_or_else(|| METHODS.join(", "));
        return Err(format!("there is no method {method:?}; did you mean {hint}?").into());
    }
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(
            format!("{url:?} is no URL; write http://… or https://…, with * at its end for all that begin so").into()
        );
    }
    Ok(Requests { method: method.to_owned(), url: url.to_owned() })
}

/// The body, and what must have been sent before: `BODY after METHOD URL`.
fn condition(rest: &str) -> Result<(&str, Option<Requests>), Stop> {
    let split = rest.rsplit_once("after ").filter(|(body, _)| body.is_empty() || body.ends_with(char::is_whitespace));
    match split.map(|(body, after)| (body.trim_end(), after.split_whitespace().collect::<Vec<_>>())) {
        Some((body, words)) if words.len() == 2 && words.iter().any(|word| word.contains("://")) => {
            let [method, url] = words.as_slice() else { return Ok((rest, None)) };
            Ok((body, Some(requests(method, url)?)))
        }
        _ => Ok((rest, None)),
    }
}

/// Whether such a request was sent since the last `settle` began.
pub(super) fn expect_sent(run: &Run<'_>, method: &str, url: &str, body: Option<&str>) -> Result<(), Stop> {
    let wanted = requests(method, url)?;
    let all = run.world.sent();
    let recent: Vec<_> = all.iter().skip(run.sent).collect();
    let matching: Vec<_> = recent.iter().filter(|sent| wanted.contain(&sent.method, &sent.url)).collect();
    if matching.is_empty() {
        let mut others: Vec<String> = recent.iter().map(|sent| format!("{} {}", sent.method, sent.url)).collect();
        others.dedup();
        let instead = if others.is_empty() { "nothing was".to_owned() } else { others.join(", ") };
        return Err(Stop::Unexpected(format!("no {method} {url} was sent since the last settle began: {instead}")));
    }
    check(body.is_none_or(|text| matching.iter().any(|sent| sent.body.contains(text))), || {
        format!("no body of {} {method} {url} contains {}", matching.len(), body.unwrap_or_default())
    })
}

/// Whether no such request was sent since the last `settle` began.
pub(super) fn expect_not_sent(run: &Run<'_>, method: &str, url: &str) -> Result<(), Stop> {
    let wanted = requests(method, url)?;
    let all = run.world.sent();
    let count = all.iter().skip(run.sent).filter(|sent| wanted.contain(&sent.method, &sent.url)).count();
    check(count == 0, || format!("{method} {url} was sent {count} times since the last settle began"))
}
