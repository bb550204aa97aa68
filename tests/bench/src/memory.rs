//! What a process has to itself.

use crate::Error;

/// Memory of this process that no other shares and that no file backs, in KiB: the sum of what the kernel calls private and
/// dirty. Clean pages of a mapped file can be taken away at any time, so they cost nothing.
pub(crate) fn private_kib() -> Result<f64, Error> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| Error::Io(std::io::Error::other("no Private_Dirty in /proc/self/smaps_rollup")))
}
