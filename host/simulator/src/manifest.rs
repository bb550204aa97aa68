//! Manifests as people write them: YAML with several documents, where every field knows its line.
//!
//! Scalars are read by the core schema of YAML 1.2, as `kubectl` does but for YAML 1.1's extra booleans (`yes`, `on`), which
//! stay texts here.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// Most values in one file, aliases expanded: a few lines of aliases can ask for billions.
const VALUE_LIMIT: usize = 200_000;
/// Deepest nesting.
const DEPTH_LIMIT: usize = 100;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The document.
    pub value: Value,
    /// Where it begins, from 1.
    pub line: usize,
    /// The line of each field, by its path: `spec.tolerations[0].key`.
    lines: BTreeMap<String, usize>,
}

/// Why a file is no YAML that Kubernetes could read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Unreadable {
    /// Where, from 1.
    pub line: usize,
    /// Where, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Manifest {
    /// The line of a field, or of the nearest field around it that is there.
    pub fn line_of(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.line,
            }
        }
    }
}

/// Reads all documents of a file. Empty documents are left out.
///
/// # Errors
/// [`Unreadable`] for the first thing that is no YAML, or YAML that no JSON can say.
pub fn read(text: &str) -> Result<Vec<Manifest>, Unreadable> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), values: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::DocumentStart(_), _) => {
                let (event, span) = reader.next()?;
                let node = reader.node(event, span, 0)?;
                let mut lines = BTreeMap::new();
                let line = node.line;
                let value = node.flatten(&mut String::new(), &mut lines);
                if !value.is_null() {
                    documents.push(Manifest { value, line, lines });
                }
                reader.anchors.clear();
            }
            (Event::StreamEnd, _) => return Ok(documents),
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    values: usize,
}

/// A value that remembers where it was.
#[derive(Clone)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn flatten(self, path: &mut String, lines: &mut BTreeMap<String, usize>) -> Value {
        if !path.is_empty() {
            lines.insert(path.clone(), self.line);
        }
        let length = path.len();
        match self.content {
            Content::Scalar(value) => value,
            Content::List(nodes) => {
                let element = |(index, node): (usize, Self)| {
                    path.push_str(&format!("[{index}]"));
                    let value = node.flatten(path, lines);
                    path.truncate(length);
                    value
                };
                Value::Array(nodes.into_iter().enumerate().map(element).collect())
            }
            Content::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(&key);
                    let value = node.flatten(path, lines);
                    path.truncate(length);
                    map.insert(key, value);
                }
                Value::Object(map)
            }
        }
    }

    fn size(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::List(nodes) => nodes.iter().map(Self::size).sum(),
            Content::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Unreadable> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = error.marker();
                Err(Unreadable { line: at.line(), column: at.col() + 1, message: error.info().to_owned() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Unreadable> {
        self.values += 1;
        if depth > DEPTH_LIMIT || self.values > VALUE_LIMIT {
            let limits = format!("at most {VALUE_LIMIT} values and {DEPTH_LIMIT} levels are read");
            return Err(unreadable(span, format!("the file is too large or too deep: {limits}")));
        }
        let line = span.start.line();
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (Content::Scalar(scalar(&text, style, tag.as_ref())), anchor),
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(unreadable(span, "an alias refers to itself or to nothing".into()));
                };
                let node = node.clone();
                self.values += node.size();
                return Ok(Node { line, ..node });
            }
            _ => return Err(unreadable(span, "a value is missing here".into())),
        };
        let node = Node { line, content };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Content, Unreadable> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(nodes)),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, Unreadable> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Content::Map(entries)),
                (Event::Scalar(text, ..), span) => (text.into_owned(), span),
                (_, span) => return Err(unreadable(span, "a key must be a text".into())),
            };
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(unreadable(at, format!("{key} is given twice; keep one")));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            // A person looks for the key, which may be lines above its value.
            entries.push((key, Node { line: at.start.line(), ..node }));
        }
    }
}

fn unreadable(span: Span, message: String) -> Unreadable {
    Unreadable { line: span.start.line(), column: span.start.col() + 1, message }
}

/// A scalar by the core schema of YAML 1.2.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> Value {
    let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
    if is_text {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return i64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    if digits.chars().all(|c| c.is_ascii_digit()) {
        return text.trim_start_matches('+').parse::<i64>().ok().map(Number::from);
    }
    let looks = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    text.parse::<f64>().ok().filter(|_| looks).and_then(Number::from_f64)
}

/// `line 3, spec.prot` and the like: where something is, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_knows_its_line() {
        let text =
            "# a comment\napiVersion: v1\nkind: Pod\nspec:\n  list:\n    - name: a\n    - name: b\n---\nkind: Other\n";
        let documents = read(text).unwrap();
        assert_eq!(documents.len(), 2);
        let lines = ["kind", "spec", "spec.list[1].name"].map(|path| documents[0].line_of(path));
        assert_eq!(lines, [3, 4, 7]);
        assert_eq!(documents[1].line_of("kind"), 9);
    }

    #[test]
    fn a_field_that_is_missing_is_looked_for_where_it_would_be() {
        let documents = read("a: 1\nspec:\n  b: 2\n").unwrap();
        assert_eq!(documents[0].line_of("spec.image"), 2);
    }

    #[test]
    fn scalars_are_read_as_kubernetes_reads_them() {
        let text =
            "a: 1\nb: \"1\"\nc: true\nd: yes\ne: ~\nf: 1.5\ng: 0.5.1\nh: 1Gi\ni: 0x10\nj: -3\nk: 010\nl: |\n  x\n  y\n";
        let expected = json!({"a": 1, "b": "1", "c": true, "d": "yes", "e": null, "f": 1.5, "g": "0.5.1", "h": "1Gi", "i": 16,
            "j": -3, "k": 10, "l": "x\ny\n"});
        assert_eq!(read(text).unwrap()[0].value, expected);
    }

    #[test]
    fn anchors_are_expanded_where_they_are_used() {
        assert_eq!(read("a: &x {n: 1}\nb: *x\n").unwrap()[0].value, json!({"a": {"n": 1}, "b": {"n": 1}}));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_before_it_explodes() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let previous = format!("*a{}", i - 1);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", [previous.as_str(); 10].join(", ")));
        }
        assert!(read(&text).unwrap_err().message.contains("too large"));
    }

    #[test]
    fn a_key_given_twice_is_refused_with_its_place() {
        let error = read("spec:\n  a: 1\n  a: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3, column 3: a is given twice; keep one");
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_place() {
        let error = read("a: 1\n  b: 2\n").unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(read("---\n---\na: 1\n---\n").unwrap().len(), 1);
    }
}
