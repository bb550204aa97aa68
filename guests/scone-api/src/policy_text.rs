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
        // What belongs to another field is indented, or an item of its list.
        let fields = line_starts(text).filter_map(|at| text.get(at..)).filter(|rest| !rest.starts_with([' ', '-']));
        for line in fields.filter_map(|rest| rest.lines().next()) {
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

/// Whether two policies are the same text. In WebAssembly `==` is a loop over bytes, which was an eighth of each look at CAS: a policy is long.
pub fn is_same(one: &str, other: &str) -> bool {
    let ((one, rest), (other, other_rest)) = (one.as_bytes().as_chunks::<8>(), other.as_bytes().as_chunks::<8>());
    let is_same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other);
    one.len() == other.len() && rest == other_rest && one.iter().zip(other).all(is_same)
}

/// Whether CAS takes this name: parts of unreserved characters (RFC 3986) between slashes. Neither `.` nor `..`: the name becomes a path
/// of a URL, and these lead to another one.
pub fn is_name(name: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_unreserved);
    name.len() <= LONGEST_NAME && name.split('/').all(is_part)
}

/// Where lines start. Eight bytes at a time, since most of a policy is only looked through: in WebAssembly a validation with 3 KB of it took
/// 0.5 µs more with `str::lines`, and 2.5 µs more byte by byte.
fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = EACH * 0x7f;
    // The highest bit of each byte that is a line end, and no other bit.
    let ends = |word: [u8; 8]| {
        let differs = u64::from_le_bytes(word) ^ (EACH * u64::from(b'\n'));
        !(((differs & LOW) + LOW) | differs | LOW)
    };
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let marked = words.iter().copied().chain([last]).map(ends).enumerate().filter(|(_, ends)| *ends != 0);
    let behind = marked.flat_map(|(word, ends)| {
        let left = std::iter::successors(Some(ends), |ends| Some(ends & ends.wrapping_sub(1)));
        left.take_while(|ends| *ends != 0).map(move |ends| word * 8 + ends.trailing_zeros() as usize / 8 + 1)
    });
    std::iter::once(0).chain(behind)
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
    fn a_name_that_would_climb_out_of_its_path_is_none() {
        for name in ["..", "a/..", "../a", "a/../b", "./a", "a/.", "a//b", "a/%2e%2e/b", "a?b"] {
            assert!(!is_name(name), "{name}");
        }
        for name in ["a", "a/b.c", "..a/b..", "a/...", "~a_b-c"] {
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn every_line_starts_behind_a_line_end() {
        for text in [
            "",
            "\n",
            "a\nb",
            "1234567\n\n0\r\n",
            "\n\n\n\n\n\n\n\n\n",
            "ä\u{8a}\u{b}\t\n\u{7f}x\n12345678\n",
            "12345678",
        ] {
            let expected: Vec<_> = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
            assert_eq!(line_starts(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
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
    fn texts_are_the_same_to_the_last_byte() {
        for text in ["", "a", "12345678", "123456789", "name: a/b\npredecessor: ~\n"] {
            assert!(is_same(text, text), "{text}");
            assert!(!is_same(text, &format!("{text}x")) && !is_same(&format!("{text}x"), text), "{text}");
        }
        assert!(!is_same("12345678", "12345679") && !is_same("12345678a", "12345678b") && !is_same("1", "2"));
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
