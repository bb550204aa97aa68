//! What is run inside pods, without a shell. How CAS is attested and where its DCAP report comes from is not published: these
//! argument lists are this module's choice, and nowhere else is any of it known.

/// The program of the SCONE command line.
pub(crate) const SCONE: &str = "scone";
/// Tells the time of a file.
pub(crate) const STAT: &str = "stat";
/// Tells how full a volume is.
pub(crate) const DF: &str = "df";

/// `-S -C -G`: firmware that needs hardening, a configuration or an update is tolerated, as when backups are registered.
pub(crate) const ATTEST: [&str; 5] = [SCONE, "cas", "attest", "-SCG", "localhost"];

/// Whether CAS answers, without attesting it.
pub(crate) const ASK: [&str; 4] = [SCONE, "cas", "show-certificate", "localhost"];

/// The DCAP report of CAS with this nonce.
pub(crate) fn report(nonce: &str) -> [&str; 6] {
    [SCONE, "cas", "show-dcap-report", "--nonce", nonce, "localhost"]
}

/// When the newest snapshot was completed, in Unix seconds.
pub(crate) fn newest_snapshot(directory: &str) -> [String; 5] {
    [STAT.to_owned(), "-L".to_owned(), "-c".to_owned(), "%Y".to_owned(), format!("{directory}/last-completed")]
}

/// How full a volume is: the last line of the output, in percent.
pub(crate) fn usage(path: &str) -> [String; 3] {
    [DF.to_owned(), "-Pk".to_owned(), path.to_owned()]
}

/// Provisions CAS before it starts.
pub(crate) fn provision(certified: bool) -> Vec<String> {
    let config = format!("{OWNER_DIRECTORY}/{OWNER_CONFIG}");
    let mut command = ["cas", "-c", CAS_TOML, "provision", "--owner-config", &config, "--skip-if-already-provisioned"]
        .map(str::to_owned)
        .to_vec();
    if certified {
        command.extend(["--owner-identity".to_owned(), format!("{OWNER_DIRECTORY}/{OWNER_CERTIFICATE}")]);
    }
    command
}

/// Shows the audit log as it grows, and waits for it while there is none.
pub(crate) const AUDIT: [&str; 5] = ["tail", "-n", "+1", "-F", "/var/log/cas/audit/cas_audit.log"];

/// The configuration of CAS (published).
pub(crate) const CAS_TOML: &str = "/etc/cas/cas.toml";
/// Where the owner's files are.
pub(crate) const OWNER_DIRECTORY: &str = "/etc/cas/owner";
/// The owner's configuration.
pub(crate) const OWNER_CONFIG: &str = "owner_config.toml";
/// The owner's certificate.
pub(crate) const OWNER_CERTIFICATE: &str = "owner_certificate.pem";
/// Where the command line keeps what it knows of CAS; the volume is published.
pub(crate) const CLI_STATE: &str = "/tmp/healthcheck";
