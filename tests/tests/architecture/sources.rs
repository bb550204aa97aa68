//! The sources, and the parts of them that rules look at.

use std::{fs, path::Path};

/// One text file of the checkout.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Within the checkout, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    #[cfg(test)]
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_under(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// Whether the whole file is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.is_under("tests") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Without the test module at its end.
    pub(crate) fn shipped(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = lines.windows(2).position(|pair| pair[0].trim() == "#[cfg(test)]" && is_inline_module(pair[1]));
        lines[..end.unwrap_or(lines.len())].join("\n")
    }

    /// Without tests and without comments.
    pub(crate) fn code(&self) -> String {
        let shipped = self.shipped();
        shipped.lines().map(without_comment).collect::<Vec<_>>().join("\n")
    }
}

fn is_inline_module(line: &str) -> bool {
    let line = line.trim();
    line.ends_with('{') && line.split_whitespace().any(|word| word == "mod")
}

/// Cuts `// ...`, but not the slashes of an address.
fn without_comment(line: &str) -> &str {
    let starts = line.match_indices("//").map(|(at, _)| at);
    let start = starts.into_iter().find(|at| !line[..*at].ends_with(':') && !line[..*at].ends_with('/'));
    start.map_or(line, |at| &line[..at])
}

/// Where a name stands as a whole word.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part) && word.starts_with(part);
        let after = text[at + word.len()..].chars().next().is_some_and(part) && word.ends_with(part);
        !before && !after
    })
}

/// All text files under the five folders, sorted.
pub(crate) fn read(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in super::house::FOLDERS {
        collect(root, &root.join(folder), &mut found);
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, into);
        } else if let Ok(text) = fs::read_to_string(&path) {
            into.push(Source { path: path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_left_out_of_code_and_addresses_are_kept() {
        let text = "a // b\nlet c = \"http://d\";\n#[cfg(test)]\nmod tests {\n    e\n}\n";
        assert_eq!(Source::sample("host/x/src/a.rs", text).code(), "a \nlet c = \"http://d\";");
    }

    #[test]
    fn a_test_module_in_its_own_file_does_not_hide_what_follows() {
        let text = "#[cfg(test)]\nmod tests;\nlet hidden = 1;";
        assert!(Source::sample("host/x/src/a.rs", text).code().contains("hidden"));
    }

    #[test]
    fn words_are_whole_words() {
        assert!(has_word("the LAS kind", "LAS"));
        assert!(!has_word("CLASS ATLAS LASER", "LAS"));
        assert!(has_word("x.patch(y)", ".patch("));
        assert!(!has_word("my_wasmtime", "wasmtime"));
    }
}
