//! What a module said to a request, to look at and to print.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::wire::Denial;

/// The outcome of one admission request over the phases that were asked. Prints as YAML; made for snapshot tests.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// None: allowed.
    pub denied: Option<Denial>,
    /// The object with defaults, when they changed it.
    pub object: Option<Value>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
    /// Added to the audit log.
    pub audit: Vec<(String, String)>,
    /// What the module logged.
    pub logs: Vec<String>,
}

impl Judgement {
    /// Whether the request is allowed.
    pub fn allowed(&self) -> bool {
        self.denied.is_none()
    }
}

/// The printed order.
#[derive(Serialize)]
struct Printed<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit: Vec<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    logs: &'a [String],
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = self.denied.iter().flat_map(|denial| &denial.causes);
        let printed = Printed {
            allowed: self.allowed(),
            denied: self.denied.as_ref().map(|denial| format!("{} {}: {}", denial.code, denial.reason, denial.message)),
            causes: causes.map(|cause| format!("{}: {} ({})", cause.field, cause.message, cause.reason)).collect(),
            object: self.object.as_ref(),
            warnings: &self.warnings,
            audit: self.audit.iter().map(|(key, value)| format!("{key}={value}")).collect(),
            logs: &self.logs,
        };
        f.write_str(&serde_saphyr::to_string(&printed).map_err(|_| fmt::Error)?)
    }
}
