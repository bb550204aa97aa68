//! Until when credentials are valid, where they tell: a token that is signed as JSON (`exp`), a token of Amazon's registry
//! (`expiration`), or an annotation of whoever renews the Secret.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::Value;

/// Annotation of a source: until when it is valid, as Kubernetes writes times.
pub(crate) const VALID_UNTIL: &str = "pull-secret.scone.cloud/valid-until";

/// What tokens tell of their end, in Unix seconds.
#[derive(Deserialize)]
struct Claims {
    #[serde(alias = "expiration")]
    exp: Option<f64>,
}

/// Until when one entry of `auths` is valid, in Unix seconds: the earliest that any of its tokens tells.
pub(crate) fn of_entry(entry: &Value) -> Option<i64> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let joined = text("auth").and_then(|auth| decode(&auth)).and_then(|auth| String::from_utf8(auth).ok());
    let password = joined.as_deref().and_then(|auth| auth.split_once(':')).map(|(_, password)| password.to_owned());
    let tokens = [text("password"), text("identitytoken"), text("registrytoken"), password];
    tokens.into_iter().flatten().filter_map(|token| of_token(&token)).min()
}

fn of_token(token: &str) -> Option<i64> {
    let parts: Vec<_> = token.split('.').collect();
    let claims = match parts.as_slice() {
        [_, claims, _] => decode(claims)?,
        [whole] => decode(whole)?,
        _ => return None,
    };
    let until = serde_json::from_slice::<Claims>(&claims).ok()?.exp?;
    // Beyond that nobody counts seconds, and no number is cut on the way.
    #[expect(clippy::cast_possible_truncation, reason = "checked in this line")]
    (until.is_finite() && until.abs() < 1e12).then_some(until as i64)
}

/// Base64 of both alphabets, padded or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let rest = text.len() % 4;
    if rest > 0 {
        text.push_str(if rest == 2 { "==" } else { "=" });
    }
    serde_json::from_value::<ByteString>(Value::String(text)).ok().map(|bytes| bytes.0)
}

/// Bytes as they stand in `data` of a Secret.
pub(crate) fn encode(bytes: Vec<u8>) -> String {
    match serde_json::to_value(ByteString(bytes)) {
        Ok(Value::String(text)) => text,
        // Bytes are always written as a text.
        _ => String::new(),
    }
}

/// The bytes of a value in `data` of a Secret.
pub(crate) fn decoded(value: &Value) -> Option<Vec<u8>> {
    serde_json::from_value::<ByteString>(value.clone()).ok().map(|bytes| bytes.0)
}
