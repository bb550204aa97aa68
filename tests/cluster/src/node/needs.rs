//! What a machine has to have for a node.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use super::{namespace, settings};

/// A program or plug-in, and the package of Debian that brings it.
const PROGRAMS: [(&str, &str); 12] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Debian's packages that this machine lacks, each once.
pub fn missing_packages() -> Vec<&'static str> {
    let path = namespace::path(&[]);
    let there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if settings::plugins().is_none() {
        missing.push("containernetworking-plugins");
    }
    missing.dedup();
    missing
}

/// Why there can be no node on this machine, in one line that ends with what to do.
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a node needs root; run `sudo --preserve-env cargo xtask test node`".to_owned());
    }
    let missing = missing_packages();
    if !missing.is_empty() {
        return Some(format!(
            "a node needs programs that are not here; run `apt-get update && apt-get install --yes --no-install-recommends {}`",
            missing.join(" ")
        ));
    }
    let words = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", TRIAL];
    let said = said("unshare", &words)?;
    Some(format!(
        "a node needs namespaces, links and mounts of its own, which this machine refuses ({said}); run it where root has all \
         capabilities, such as `docker run --privileged` or a virtual machine"
    ))
}

/// What a node does first.
const TRIAL: &str = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && ip link add n0 type veth peer name n1 && nft list tables \
                     >/dev/null && cat /proc/$$/task/$$/children >/dev/null";

/// The last line of what a program says when it fails.
fn said(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", namespace::path(&[])).current_dir(Path::new("/")).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Some(text.lines().last().map_or_else(|| output.status.to_string(), str::to_owned))
        }
        Err(error) => Some(error.to_string()),
    }
}
