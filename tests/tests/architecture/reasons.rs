//! The reasons in the sources and in the table that people read.

use std::collections::BTreeSet;

use crate::sources::Source;

/// Where a reason is written out: a parent stalls, a file is refused, the operator tells of itself or of what it did.
const WRITTEN: [&str; 5] = [
    "Progress::Stalled { reason: \"",
    "Refused::lasting(\"",
    "Self::lasting(\"",
    "self.tell.send((\"",
    "type_: EventType::Warning,\n        reason: \"",
];

/// What `fn reason` functions give, and reasons that are written out.
pub(crate) fn of(source: &Source) -> Vec<String> {
    let code = source.code();
    let bodies = code.split("fn reason(&self) -> &'static str {").skip(1);
    let bodies = bodies.map(|body| body.split("\n    }").next().unwrap_or_default().to_owned());
    let written = WRITTEN.iter().flat_map(|before| code.split(before).skip(1));
    let written = written.filter_map(|rest| Some(format!("\"{}\"", rest.split('"').next()?)));
    bodies.chain(written).flat_map(|text| literals(&text)).collect()
}

/// The first cells of the table, without their quotes.
pub(crate) fn documented(page: &str) -> BTreeSet<String> {
    page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect()
}

fn literals(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_in_functions_and_where_a_parent_stalls() {
        let text = "impl E {\n    pub fn reason(&self) -> &'static str {\n        match self {\n            Self::A => \"One\",\n            Self::B => \"Two\",\n        }\n    }\n}\nfn f() { g(\"no\"); Progress::Stalled { reason: \"Three\", message } }";
        assert_eq!(of(&Source::sample("host/x/src/a.rs", text)), ["One", "Two", "Three"]);
    }

    #[test]
    fn the_table_is_read() {
        assert_eq!(documented("| reason |\n|---|\n| `One` | x |\ntext `Two`\n"), BTreeSet::from(["One".to_owned()]));
    }
}
