//! Which texts Kubernetes takes as names, label keys and images (`k8s.io/apimachinery/pkg/util/validation`, and the
//! reference grammar of the OCI distribution).

/// Letters, digits and some more, starting and ending with a letter or digit.
fn is_framed(bytes: &[u8], inner: impl Fn(u8) -> bool, edge: impl Fn(u8) -> bool) -> bool {
    bytes.first().is_some_and(|b| edge(*b))
        && bytes.last().is_some_and(|b| edge(*b))
        && bytes.iter().all(|b| edge(*b) || inner(*b))
}

/// The parts of a short text. `str::split` is made for long ones: to set its search up takes longer than to look at each byte.
fn parts(text: &str, separator: u8) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().split(move |byte| *byte == separator)
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A DNS label, as namespaces are named.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_framed(text.as_bytes(), |byte| byte == b'-', is_lower)
}

/// A DNS name, as most objects are named.
pub fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && parts(text, b'.').all(|part| is_framed(part, |byte| byte == b'-', is_lower))
}

/// A label value, or the part of a label key behind the slash.
pub fn is_label_name(text: &str) -> bool {
    text.len() <= 63
        && is_framed(text.as_bytes(), |byte| matches!(byte, b'-' | b'_' | b'.'), |byte| byte.is_ascii_alphanumeric())
}

/// A label or annotation key.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// An image: `[registry[:port]/]path[:tag][@digest]`.
pub fn is_image(text: &str) -> bool {
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    let (path, tag) = match named.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (named, None),
    };
    let tag_fits = tag.is_none_or(|tag| {
        tag.len() <= 128
            && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    });
    let digest_fits = digest.is_none_or(|digest| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    });
    tag_fits && digest_fits && is_path(path)
}

fn is_path(path: &str) -> bool {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let part = |part: &[u8]| is_framed(part, |byte| matches!(byte, b'.' | b'_' | b'-'), is_lower);
    // Only a registry may have a port and upper-case letters.
    let registry = |text: &str| {
        let (name, number) = text.split_once(':').unwrap_or((text, "0"));
        is_framed(name.as_bytes(), |byte| matches!(byte, b'.' | b'-'), |byte| byte.is_ascii_alphanumeric())
            && number.parse::<u16>().is_ok()
    };
    match rest {
        Some(rest) => (registry(first) || part(first.as_bytes())) && parts(rest, b'/').all(part),
        None => part(first.as_bytes()),
    }
}
