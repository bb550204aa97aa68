//! The text of a script, taken apart.

use operator_core::schema::nearest;

/// All verbs.
pub(super) const VERBS: [&str; 29] = [
    "advance",
    "answer",
    "apply",
    "bad-image",
    "certificate",
    "command",
    "crd",
    "delete",
    "device",
    "device-lost",
    "expect",
    "fail-probe",
    "good-image",
    "log",
    "module",
    "namespace",
    "no-answer",
    "node",
    "node-back",
    "node-lost",
    "note",
    "pass-probe",
    "patch",
    "reconcile",
    "settings",
    "settle",
    "show",
    "swap",
    "traffic",
];

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub(super) file: String,
    pub(super) steps: Vec<Step>,
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) verb: String,
    /// What follows the verb, as it is written.
    pub(super) rest: String,
}

impl Step {
    /// The words after the verb; quotes keep spaces together.
    pub(super) fn words(&self) -> Vec<String> {
        self.split(usize::MAX).0
    }

    /// What follows the first words, as it is written.
    pub(super) fn after(&self, words: usize) -> &str {
        self.split(words).1
    }

    /// The first words, and what follows them.
    fn split(&self, limit: usize) -> (Vec<String>, &str) {
        let mut words = Vec::new();
        let (mut word, mut quoted, mut open) = (String::new(), false, false);
        for (place, c) in self.rest.char_indices() {
            if words.len() == limit {
                return (words, self.rest.get(place..).unwrap_or_default().trim());
            }
            match c {
                '"' => (quoted, open) = (!quoted, true),
                c if c.is_whitespace() && !quoted => {
                    if open {
                        words.push(std::mem::take(&mut word));
                    }
                    open = false;
                }
                c => {
                    word.push(c);
                    open = true;
                }
            }
        }
        if open {
            words.push(word);
        }
        (words, "")
    }
}

/// A line that is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ScriptError {
    /// The script.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What is wrong and what to write.
    pub message: String,
}

impl Scenario {
    /// Reads a script; `file` is its name in messages. Empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// The first line with a verb that there is not, with the nearest one.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let steps = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')).map(|(line, text)| {
            let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            if VERBS.contains(&verb) || verb == "try-apply" {
                return Ok(Step { line, verb: verb.to_owned(), rest: rest.trim().to_owned() });
            }
            let hint = nearest(verb, VERBS).map_or_else(
                || format!("there are {}", VERBS.join(", ")),
                |nearest| format!("did you mean {nearest}?"),
            );
            Err(ScriptError { file: file.to_owned(), line, message: format!("there is no verb {verb:?}; {hint}") })
        });
        Ok(Self { file: file.to_owned(), steps: steps.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_left_out() {
        let scenario = Scenario::parse("f", "# a\n\nnode n1 label a=b\n  settle\n").unwrap();
        let steps: Vec<_> = scenario.steps.iter().map(|s| (s.line, s.verb.as_str(), s.rest.as_str())).collect();
        assert_eq!(steps, [(3, "node", "n1 label a=b"), (4, "settle", "")]);
    }

    #[test]
    fn an_unknown_verb_is_told_with_the_nearest_one() {
        let error = Scenario::parse("f", "node a\nsetle\n").unwrap_err();
        assert_eq!(error.to_string(), "f:2: there is no verb \"setle\"; did you mean settle?");
    }

    #[test]
    fn quotes_keep_words_together() {
        let scenario = Scenario::parse("f", r#"log las "a b" c """#).unwrap();
        assert_eq!(scenario.steps[0].words(), ["las", "a b", "c", ""]);
    }

    #[test]
    fn what_follows_some_words_keeps_its_quotes() {
        let scenario = Scenario::parse("f", r#"command las "a b" 0  {"k": "v"}"#).unwrap();
        let step = &scenario.steps[0];
        assert_eq!((step.after(3), step.after(1), step.after(9)), (r#"{"k": "v"}"#, r#""a b" 0  {"k": "v"}"#, ""));
    }
}
