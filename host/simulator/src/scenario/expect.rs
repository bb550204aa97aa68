//! Saying what must be.

use serde_json::Value;

use super::{
    parse::Step,
    servers,
    steps::{Run, Stop},
};

/// Checks what `expect` asks for.
pub(super) fn expect(run: &Run<'_>, what: &[&str], step: &Step) -> Result<(), Stop> {
    match what {
        ["sent", method, url] => servers::expect_sent(run, method, url, None),
        ["sent", method, url, "body", "contains", _, ..] => {
            servers::expect_sent(run, method, url, Some(servers::unquoted(step.after(5))))
        }
        ["no", "sent", method, url] => servers::expect_not_sent(run, method, url),
        ["writes", count] => {
            let writes = run.world.cluster.writes().len() - run.mark;
            check(&writes.to_string() == count, || format!("{writes} writes since the last settle began, not {count}"))
        }
        ["event", reason] => {
            let found = run.events.iter().any(|event| event.contains(&format!(" {reason}:")));
            check(found, || format!("there is no event {reason}"))
        }
        ["no", kind, name] => {
            let identity = run.world.named(kind, name)?;
            check(run.world.cluster.object(&identity).is_none(), || format!("{identity} is there"))
        }
        [kind, name] => {
            let identity = run.world.named(kind, name)?;
            check(run.world.cluster.object(&identity).is_some(), || format!("there is no {identity}"))
        }
        [kind, name, path, "is", value] => compare(run, kind, name, path, value),
        [kind, name, path, "is", "absent", ..] => compare(run, kind, name, path, "absent"),
        [kind, name, path, "contains", value] => {
            let found = field(run, kind, name, path)?;
            check(found.contains(value), || format!("{path} is {found}, it does not contain {value}"))
        }
        _ => Err(Stop::Impossible(
            "write: expect KIND NAME [PATH is VALUE | PATH contains TEXT] | no KIND NAME | writes COUNT | event REASON | \
             sent METHOD URL [body contains TEXT] | no sent METHOD URL"
                .into(),
        )),
    }
}

fn compare(run: &Run<'_>, kind: &str, name: &str, path: &str, value: &str) -> Result<(), Stop> {
    let found = field(run, kind, name, path)?;
    check(found == value, || format!("{path} is {found}, not {value}"))
}

/// The field as text; `absent` when it is not there. A path is dotted; `[type=Ready]` picks from a list, `["a.b/c"]` is a key.
fn field(run: &Run<'_>, kind: &str, name: &str, path: &str) -> Result<String, Stop> {
    let identity = run.world.named(kind, name)?;
    let object =
        run.world.cluster.object(&identity).ok_or_else(|| Stop::Unexpected(format!("there is no {identity}")))?;
    let found = parts(path).iter().try_fold(&object, |value, part| match part.split_once('=') {
        Some((key, wanted)) if value.is_array() => {
            value.as_array()?.iter().find(|element| element.get(key).and_then(Value::as_str) == Some(wanted))
        }
        _ => value.get(part.as_str()).or_else(|| value.get(part.parse::<usize>().ok()?)),
    });
    Ok(match found {
        None | Some(Value::Null) => "absent".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    })
}

fn parts(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                parts.push(String::new());
            }
            ']' => inside = false,
            '.' if !inside => parts.push(String::new()),
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

pub(super) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Unexpected(otherwise())) }
}
