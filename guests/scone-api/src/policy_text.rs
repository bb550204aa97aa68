//! The two things that must be read from a policy in clear: its name, and which version it replaces. No YAML reader: it would
//! be most of the module, and both are plain fields at the top level.

/// The longest name that CAS takes, from 5.9; before, it was [`OLD_LONGEST_NAME`].
pub const LONGEST_NAME: usize = 512;
/// The longest name that CAS takes before 5.9.
pub const OLD_LONGEST_NAME: usize = 128;

/// What can be read of a policy; nothing of one that makes no sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The name of the session.
    pub name: Option<String>,
    /// The hash of the version that this one replaces; none for a new session.
    pub predecessor: Option<String>,
}

impl Head {
    /// Reads a policy, in one pass over its lines: it may be long.
    pub fn of(text: &str) -> Self {
        const NAME: &str = "name";
        const PREDECESSOR: &str = "predecessor";
        if text.trim_start().starts_with('{') {
            let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
            let field = |key| fields.get(key)?.as_str().map(str::to_owned);
            return Self { name: field(NAME), predecessor: field(PREDECESSOR) };
        }
        let (mut name, mut predecessor) = (None, None);
        // What belongs to another field is indented.
        for line in text.lines().filter(|line| !line.starts_with(' ')) {
            name = name.or_else(|| value(line, NAME));
            predecessor = predecessor.or_else(|| value(line, PREDECESSOR));
            if name.is_some() && predecessor.is_some() {
                break;
            }
        }
        Self { name: name.and_then(scalar), predecessor: predecessor.and_then(scalar) }
    }
}

/// The session in which a session of this name lies: what stands before its last slash.
pub fn namespace(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(namespace, _)| namespace)
}

/// Whether CAS takes this name: parts of unreserved characters (RFC 3986) between slashes.
pub fn is_name(name: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    name.len() <= LONGEST_NAME && name.split('/').all(|part| !part.is_empty() && part.bytes().all(is_unreserved))
}

/// What stands behind the key, if the line has it at its start.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let quoted = |quote: char| line.strip_prefix(quote)?.strip_prefix(key)?.strip_prefix(quote);
    let rest = line.strip_prefix(key).or_else(|| quoted('"')).or_else(|| quoted('\''))?;
    let value = rest.trim_start().strip_prefix(':')?;
    (value.is_empty() || value.starts_with([' ', '\t'])).then(|| value.trim())
}

fn scalar(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map(|(text, _)| text.to_owned());
    }
    if value.starts_with('"') {
        // A JSON string is a YAML string; what follows it is a comment.
        return serde_json::Deserializer::from_str(value).into_iter::<String>().next()?.ok();
    }
    let plain = value.split(" #").next().unwrap_or_default().trim();
    (!matches!(plain, "" | "~" | "null") && !plain.starts_with('#')).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        Head::of(text).name
    }

    fn predecessor(text: &str) -> Option<String> {
        Head::of(text).predecessor
    }

    #[test]
    fn the_first_of_each_counts_in_whatever_order_they_stand() {
        let head = |name: &str, hash: &str| Head { name: Some(name.to_owned()), predecessor: Some(hash.to_owned()) };
        assert_eq!(Head::of("predecessor: 00\nname: a\nname: b\npredecessor: 11\n"), head("a", "00"));
        assert_eq!(Head::of(r#"{"predecessor": "00", "x": 1, "name": "a"}"#), head("a", "00"));
        assert_eq!(Head::of("{\"name\": \"a\""), Head::default(), "it ends too early");
    }

    #[test]
    fn name_and_predecessor_are_found_however_they_are_quoted() {
        for text in ["name: a/b", "version: \"0.3\"\nname:   a/b   # mine\n", "'name': 'a/b'", "\"name\": \"a/b\" # x"]
        {
            assert_eq!(name(text).as_deref(), Some("a/b"), "{text}");
        }
        assert_eq!(name(r#"{"name": "a/b", "predecessor": null}"#).as_deref(), Some("a/b"));
        assert_eq!(predecessor("name: a\r\npredecessor: 00ff\r\n").as_deref(), Some("00ff"));
    }

    #[test]
    fn null_is_no_predecessor() {
        for text in ["predecessor: ~", "predecessor:", "predecessor: null # new", "predecessor: # new", "name: x"] {
            assert_eq!(predecessor(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_indented_or_only_starts_alike_is_another_field() {
        assert_eq!(name("services:\n  - name: app\nnames: x\nname2: y\n").as_deref(), None);
        assert_eq!(name("name:x"), None);
    }

    #[test]
    fn names_have_unreserved_characters_and_no_empty_part() {
        assert!(is_name("team-1/app_2/v1.0~"));
        for bad in ["", "/a", "a//b", "a/", "a b", "ä", "a?b", &"x".repeat(513)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(namespace("a/b/c"), Some("a/b"));
        assert_eq!(namespace("a"), None);
    }
}
