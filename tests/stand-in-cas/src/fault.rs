//! What can be wrong with a CAS.

use serde::{Deserialize, Serialize};

/// How the stand-in behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As a CAS does.
    #[default]
    Normal,
    /// Every answer takes so many milliseconds longer.
    Slow(u64),
    /// Every answer has status 500.
    Failing,
    /// No answer ever comes.
    Hangs,
    /// Every answer has status 200, and a body that is nothing.
    Garbage,
    /// Uploads are not allowed.
    Refuses,
    /// New connections meet another certificate.
    WrongCertificate,
    /// Sessions are hidden from whoever shows no certificate.
    Hides,
    /// It cannot be attested.
    Unattestable,
}
