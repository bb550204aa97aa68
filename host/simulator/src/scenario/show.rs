//! What `show` prints.

use operator_core::contract::Manifest;

use super::steps::Run;
use crate::view;

/// Prints what `show` asks for.
pub(super) fn show(run: &mut Run<'_>, what: &[&str]) -> Result<(), String> {
    let world = &run.world;
    let lines = match what {
        ["tree"] => view::tree(world),
        ["table", kind] => view::table(world, kind)?,
        ["object", kind, name] => view::object(world, kind, name)?,
        ["status", kind, name] => view::status(world, kind, name)?,
        ["labels", kind, name] => view::labels(world, kind, name)?,
        ["events"] => run.events.clone(),
        ["metrics"] => metrics(run),
        _ => {
            return Err("write: show tree | table KIND | status KIND NAME | object KIND NAME | labels KIND NAME | events | metrics".into());
        }
    };
    run.lines.extend(lines);
    Ok(())
}

/// The kinds that a module serves, for a line.
pub(super) fn kinds(manifest: &Manifest) -> String {
    manifest.kinds.iter().map(|kind| kind.kind.as_str()).collect::<Vec<_>>().join(", ")
}

fn metrics(run: &Run<'_>) -> Vec<String> {
    let line = |sample: &operator_core::Sample| {
        let labels: Vec<String> = sample.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        format!("{}{{{}}} {}", sample.name, labels.join(","), sample.value)
    };
    run.samples.values().flat_map(|samples| samples.iter()).map(line).collect()
}
