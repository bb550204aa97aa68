//! Looking at a ring that stays, and working in it.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
};

use serde_json::Value;

use super::{
    Format, Ring, answer,
    state::{State, States},
};

/// Which rings run; the exit code is good when all that were asked for do.
pub(crate) fn status(states: &States, ring: Option<Ring>, format: Format) -> ExitCode {
    let mut all = Vec::new();
    let mut good = true;
    for ring in ring.map_or(Ring::ALL.to_vec(), |ring| vec![ring]) {
        let Some(state) = states.read(ring) else {
            all.push(serde_json::json!({"ring": ring.name(), "running": false}));
            continue;
        };
        let said = ask(&state);
        let mut value = state.value();
        if let Some(object) = value.as_object_mut() {
            object.insert("running".to_owned(), true.into());
            object.insert("ready".to_owned(), said.is_ok().into());
            object.insert("said".to_owned(), said.clone().unwrap_or_else(|why| why).into());
        }
        good &= said.is_ok();
        all.push(value);
    }
    match format {
        Format::Json => answer(&Value::Array(all).to_string()),
        Format::Text => all.iter().for_each(|value| answer(&line(value))),
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if value.get("running") != Some(&Value::Bool(true)) {
        return format!("{:5} does not run; `cargo xtask cluster up --ring {}` starts it", text("ring"), text("ring"));
    }
    format!("{:5} {}; KUBECONFIG={}, logs in {}", text("ring"), text("said"), text("kubeconfig"), text("folder"))
}

/// What the nodes of a ring are, as kubectl says; an error when the API server does not answer.
fn ask(state: &State) -> Result<String, String> {
    let words = ["kubectl", "get", "nodes", "--no-headers", "--request-timeout=5s", "--ignore-not-found"];
    let output = command(state, &words.map(OsString::from)).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("does not answer: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let nodes: Vec<String> =
        text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    Ok(if nodes.is_empty() { "answers".to_owned() } else { format!("answers, {}", nodes.join(", ")) })
}

/// Becomes the program.
pub(crate) fn exec(states: &States, ring: Option<Ring>, words: &[OsString]) -> Result<ExitCode, String> {
    let state = states.choose(ring)?;
    let error = command(&state, words).exec();
    let program = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    Err(format!("`{program}` cannot be started: {error}"))
}

fn command(state: &State, words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().map_or((OsString::new(), [].as_slice()), |(p, a)| (p.clone(), a));
    let (mut command, kubeconfig) = if let Some((pid, kubeconfig)) = &state.inside {
        (cluster::inside(*pid, program), kubeconfig)
    } else {
        // A program is looked for on this process's path, not on the one that it is given.
        let mut command = Command::new("env");
        command.arg("--").arg(program);
        (command, &state.kubeconfig)
    };
    command.args(arguments).env("KUBECONFIG", kubeconfig).env("PATH", &state.path);
    command
}

/// Shows a log.
pub(crate) fn logs(states: &States, ring: Option<Ring>, program: Option<&str>) -> Result<ExitCode, String> {
    let state = states.choose(ring)?;
    let known = cluster::logging(&state.folder);
    let Some(program) = program else {
        for name in known {
            answer(&name);
        }
        return Ok(ExitCode::SUCCESS);
    };
    if !known.iter().any(|name| name == program) {
        return Err(format!("no `{program}` logs in the ring {}; there are {}", state.ring.name(), known.join(", ")));
    }
    let path = state.folder.join(format!("{program}.log"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    answer(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
