//! Names of sessions, as published: parts of unreserved characters between slashes. Read here anew and not with the code under
//! test, so that a mistake there is not shared.

/// The longest name that CAS takes, from 5.9.
const LONGEST: usize = 512;

pub(crate) fn is_name(name: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    name.len() <= LONGEST && name.split('/').all(|part| !part.is_empty() && part.bytes().all(unreserved))
}

/// The session in which one of this name lies.
pub(crate) fn namespace(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(namespace, _)| namespace)
}
