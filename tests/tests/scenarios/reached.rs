//! What the kinds can say, their scenarios say: every value of every status, every alert, every condition.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;
use test_support::checkout;

use super::runs::RUNS;

/// Kinds, their CRDs and the READMEs with their tables.
const KINDS: [(&str, &str, &str); 7] = [
    ("SGXPlugin", "base.scone.cloud_sgxplugins", "sgxplugin"),
    ("LAS", "base.scone.cloud_las", "las"),
    ("CAS", "services.scone.cloud_cas", "cas"),
    ("Vault", "services.scone.cloud_vaults", "vault"),
    ("SignedPolicy", "cas.scone.cloud_signedpolicies", "signed-policy"),
    ("EncryptedPolicy", "cas.scone.cloud_encryptedpolicies", "encrypted-policy"),
    ("ImagePullSecret", "images.banzaicloud.io_imagepullsecrets", "pull-secret"),
];

/// What no scenario shows, and the test that reaches it.
const ELSEWHERE: [(&str, &str); 5] = [
    // The scenarios use images of the registry that is set.
    (
        "CAS condition BackupControllerTrusted=otherwise",
        "guests/cas/tests/backup.rs an_image_that_nobody_vouches_for_makes_no_pods_and_it_is_said_why",
    ),
    // The operator repairs the budget before anybody is told of it.
    (
        "CAS podDisruptionBudgetAlert>0",
        "guests/cas/tests/table.rs every_alert_is_reached_at_zero_above_it_and_where_it_may_be_unknown",
    ),
    // Webhooks refuse such policies.
    ("SignedPolicy state=INVALID", POLICIES),
    (
        "EncryptedPolicy state=INVALID",
        "guests/encrypted-policy/tests/upload.rs every_state_condition_and_reason_of_the_readme_is_reached_and_no_other",
    ),
    ("SignedPolicy condition SignaturesVerified=True", POLICIES),
];
const POLICIES: &str =
    "guests/signed-policy/tests/upload.rs every_state_condition_and_reason_of_the_readme_is_reached_and_no_other";

/// Values of 5.8 that no later version writes, and this one neither.
const NEVER: [&str; 2] = ["CAS attestable=Failed", "CAS attestable=No"];

/// `Kind field=value`, `Kind field>0`, `Kind condition=status` of everything that was said.
fn reached() -> BTreeSet<String> {
    let steps = RUNS.values().flat_map(|run| &run.steps);
    let said = steps.flat_map(|step| step["statuses"].as_array().into_iter().flatten());
    said.flat_map(|said| {
        let kind = said["kind"].as_str().unwrap().to_owned();
        let fields = said["status"].as_object().unwrap().clone();
        let values = fields.into_iter().flat_map(|(field, value)| match value {
            Value::String(value) => vec![format!("{field}={value}")],
            Value::Number(value) if field.ends_with("Alert") => {
                let sign = if value.as_i64().unwrap() > 0 { ">0" } else { "=0" };
                vec![format!("{field}{sign}")]
            }
            Value::Array(conditions) if field == "conditions" => conditions.iter().map(condition).collect(),
            _ => Vec::new(),
        });
        values.map(|value| format!("{kind} {value}")).collect::<Vec<_>>()
    })
    .collect()
}

fn condition(condition: &Value) -> String {
    let type_ = condition["type"].as_str().unwrap();
    let type_ = type_.rsplit_once('/').map_or(type_.to_owned(), |(_, name)| format!("<object>/{name}"));
    let status = if condition["status"] == "True" { "True" } else { "otherwise" };
    format!("condition {type_}={status}")
}

/// What the schema of a kind and the tables of its README let it say.
fn tables(kind: &str, crd: &str, module: &str) -> Vec<String> {
    let text = fs::read_to_string(checkout().join(format!("deploy/crds/{crd}.yaml"))).unwrap();
    let crd: Value = serde_saphyr::from_str(&text).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let mut all = Vec::new();
    for (field, schema) in status.as_object().unwrap() {
        let values = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.extend(values.map(|value| format!("{field}={value}")));
        if field.ends_with("Alert") && schema["type"] == "integer" {
            all.extend(["=0", ">0"].map(|sign| format!("{field}{sign}")));
        }
    }
    let readme = fs::read_to_string(checkout().join(format!("guests/{module}/README.md"))).unwrap();
    for row in table(&readme, "Conditions") {
        let says = |cells: std::ops::Range<usize>| row[cells].iter().any(|cell| !cell.trim().is_empty());
        for type_ in words(&row[1]) {
            // A name of an object, whatever it is.
            let type_ = type_.rsplit_once('/').map_or(type_.clone(), |(_, name)| format!("<object>/{name}"));
            all.extend(says(2..3).then(|| format!("condition {type_}=True")));
            all.extend(says(3..5).then(|| format!("condition {type_}=otherwise")));
        }
    }
    all.extend(table(&readme, "States").iter().flat_map(|row| words(&row[1])).map(|state| format!("state={state}")));
    all.iter().map(|value| format!("{kind} {value}")).collect()
}

/// The rows of the first table of a section, as cells; none without it.
fn table(readme: &str, section: &str) -> Vec<Vec<String>> {
    let Some(text) = readme.split(&format!("## {section}\n")).nth(1) else { return Vec::new() };
    let lines = text.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.filter(|line| line.starts_with("| `")).map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// What is marked as code in the first part of a cell.
fn words(cell: &str) -> Vec<String> {
    let names = cell.split(", only").next().unwrap_or_default();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_value_alert_and_condition_of_the_tables_is_reached_by_a_scenario_or_by_the_test_that_is_named() {
    let reached = reached();
    let elsewhere: BTreeMap<&str, &str> = ELSEWHERE.into_iter().collect();
    let all: BTreeSet<String> = KINDS.iter().flat_map(|(kind, crd, module)| tables(kind, crd, module)).collect();
    let told = |value: &String| reached.contains(value) || elsewhere.contains_key(value.as_str());
    let missing: Vec<_> = all.iter().filter(|value| !told(value) && !NEVER.contains(&value.as_str())).collect();
    assert!(missing.is_empty(), "no scenario reaches {missing:#?}");
    let stale: Vec<_> =
        elsewhere.keys().chain(&NEVER).filter(|value| reached.contains(**value) || !all.contains(**value)).collect();
    assert!(stale.is_empty(), "these need no other test, or are in no table: {stale:?}");
}

#[test]
fn the_tests_that_are_named_exist() {
    for (value, test) in ELSEWHERE {
        let (file, name) = test.split_once(' ').unwrap();
        let text = fs::read_to_string(checkout().join(file)).unwrap();
        assert!(text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\"")), "{value}: {test}");
    }
}
