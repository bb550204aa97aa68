//! The only place that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this file is for")]

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use comfy_table::{Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// What a command found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// For people.
    pub(crate) lines: Vec<String>,
    /// For programs.
    pub(crate) value: Value,
    /// Whether the checked thing is bad.
    pub(crate) bad: bool,
}

/// Shows what modules and host log, on standard error.
pub(crate) fn start_log(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // A second subscriber cannot be set; there is none before this one.
    drop(log.try_init());
}

/// Prints the result and gives the exit code.
pub(crate) fn finish(result: Result<Report, Failure>, json: bool) -> ExitCode {
    match result {
        Ok(report) => {
            if json {
                if !report.value.is_null() {
                    println!("{}", report.value);
                }
            } else {
                report.lines.iter().for_each(|line| println!("{line}"));
            }
            ExitCode::from(u8::from(report.bad))
        }
        Err(failure) => {
            if json {
                println!("{}", json!({"error": failure.to_string(), "code": failure.code()}));
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Says on a terminal what takes a while. It goes when it is dropped.
pub(crate) fn progress(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Rows under a header, columns aligned.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.iter().map(|cell| cell.to_uppercase()));
    table.add_rows(rows);
    table.to_string().lines().map(|line| line.trim_end().to_owned()).collect()
}
