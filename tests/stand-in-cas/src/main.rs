//! The stand-in for CAS as a program, for containers. Not a CAS.

use clap::Parser;
use stand_in_cas::{Mode, Options, StandIn};

/// A stand-in for CAS in tests: its public endpoints over TLS, and a mode for each fault. Not a CAS.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, env = "STAND_IN_LISTEN", default_value = "0.0.0.0:8081")]
    listen: String,
    /// Names and addresses in the certificate, separated by commas.
    #[arg(long, env = "STAND_IN_NAMES", default_value = "localhost,127.0.0.1,cas", value_delimiter = ',')]
    names: Vec<String>,
    /// Start without the policy that marks a provisioned CAS.
    #[arg(long, env = "STAND_IN_UNPROVISIONED")]
    unprovisioned: bool,
    /// How to behave at first, as JSON: "failing", {"slow":500}, ...
    #[arg(long, env = "STAND_IN_MODE", default_value = "\"normal\"", value_parser = mode)]
    mode: Mode,
}

fn mode(text: &str) -> Result<Mode, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), stand_in_cas::Error> {
    let Arguments { listen, names, unprovisioned, mode } = Arguments::parse();
    let mut running = StandIn::with(Options { listen, names, provisioned: !unprovisioned, mode }).await?;
    report(&running);
    running.ended().await;
    Ok(())
}

/// The lines that a CAS prints before it is provisioned; others read them from its log.
#[expect(clippy::print_stdout, reason = "the log is what a program in a container prints")]
fn report(running: &StandIn) {
    println!("stand-in for CAS, not a CAS, on port {}", running.port());
    println!("CAS key hash: {}", running.certificate_sha256());
    println!("CAS provisioning token: {}", running.encryption_key());
}
