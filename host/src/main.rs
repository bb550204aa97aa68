//! The controller manager: runs modules against a cluster.

mod allowed;
mod args;
mod connect;
mod failure;
mod metrics;
mod modules;
mod run;
mod serve;
mod supervise;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Arguments, Command, LogFormat, Logging},
    failure::Failure,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    log(match &command {
        Command::Run(arguments) => &arguments.logging,
        Command::UninstallWebhooks(arguments) => &arguments.logging,
    });
    // Two libraries may bring a provider each, and rustls then panics at the first connection unless one is chosen before.
    let chosen = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match (chosen, runtime) {
        (Ok(()), Ok(runtime)) => runtime.block_on(async {
            match command {
                Command::Run(arguments) => run::run(*arguments).await,
                Command::UninstallWebhooks(arguments) => webhooks::uninstall(&arguments).await,
            }
        }),
        (Err(_), _) => Err(Failure::Ended("another TLS provider was chosen before".to_owned())),
        (_, Err(failed)) => {
            Err(Failure::Ended(format!("no runtime: {failed}; raise the limit of threads (ulimit -u)")))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(%failure, "ends");
            ExitCode::from(failure.code())
        }
    }
}

/// Logs to standard error. kube would show the body of an answer that it cannot read, and with it a secret.
fn log(arguments: &Logging) {
    let filter = EnvFilter::try_new(format!("{},kube_client::client=error", arguments.log));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info,kube_client::client=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
}
