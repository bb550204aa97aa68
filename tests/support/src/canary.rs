//! A mark that is put into Secrets and looked for wherever somebody reads: statuses, events, logs, metrics.

use base64::{Engine, prelude::BASE64_STANDARD};

/// What must not be told.
pub const MARK: &str = "c4nary-0f-the-secret";

/// Whether a text tells the mark: as it is, in base64 at any offset, in hexadecimal digits, or as a list of bytes, which is how readers of
/// PEM quote a line.
pub fn is_told(text: &str) -> bool {
    let list = MARK.bytes().take(6).map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let encoded = (0..3).filter_map(|at| {
        let whole = BASE64_STANDARD.encode(format!("{}{MARK}", "x".repeat(at)));
        // Without the digits that depend on what stands before and after.
        whole.get(4..20).map(str::to_owned)
    });
    [MARK.to_owned(), hex::encode(MARK), list].into_iter().chain(encoded).any(|form| text.contains(&form))
}

/// The first line that tells the mark.
pub fn told(text: &str) -> Option<&str> {
    text.lines().find(|line| is_told(line))
}

/// Credentials for a registry, as a Secret of type `kubernetes.io/dockerconfigjson` holds them, with the mark as the password.
pub fn credentials(host: &str) -> String {
    let auth = BASE64_STANDARD.encode(format!("robot:{MARK}"));
    format!(r#"{{"auths": {{"{host}": {{"username": "robot", "password": "{MARK}", "auth": "{auth}"}}}}}}"#)
}

/// Contents of a Secret that hold the mark and are wrong in every way that readers tell apart. `certificate` is a good one, in PEM; `host`
/// is the registry of which the last ones hold credentials.
pub fn contents(certificate: &str, host: &str) -> Vec<String> {
    let body = BASE64_STANDARD.encode(MARK.repeat(4));
    let docker = |entry: &str| format!(r#"{{"auths": {{"{host}": {entry}}}}}"#);
    vec![
        MARK.to_owned(),
        format!("-----BEGIN {MARK}\n"),
        format!("-----BEGIN CERTIFICATE-----\n{MARK}\n-----END CERTIFICATE-----\n"),
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END {MARK}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"),
        format!("{certificate}-----BEGIN {MARK}\n"),
        format!("{MARK}\n{MARK}"),
        format!("\u{1}{MARK}"),
        format!("{{\"auths\": {MARK}"),
        format!("{{\"auths\": \"{MARK}\"}}"),
        docker(&format!("\"{MARK}\"")),
        docker(&format!("{{\"auth\": [\"{MARK}\"]}}")),
        docker(&format!("{{\"auth\": \"{MARK}\\n\"}}")),
        docker(&format!("{{\"username\": \"{MARK}\", \"password\": 1}}")),
        docker(&format!("{{\"auth\": \"{}\"}}", BASE64_STANDARD.encode(format!("robot:{MARK}")))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_every_form_in_which_it_could_be_told() {
        for text in [
            format!("a {MARK} b"),
            BASE64_STANDARD.encode(format!("ab{MARK}cd")),
            hex::encode(format!("x{MARK}")),
            format!("{:?}", MARK.as_bytes()),
        ] {
            assert!(is_told(&text), "{text}");
        }
        assert!(!is_told("nothing"));
    }
}
