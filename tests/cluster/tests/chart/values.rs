//! Values: those that are refused, and where each is described.

use serde_json::Value;

use crate::helm::{refusal, text};

#[test]
fn a_value_that_cannot_be_meant_is_refused_with_its_name() {
    for (set, named) in [
        ("replica=2", "replica"),
        ("replicas=0", "replicas"),
        (r#"replicas="two""#, "replicas"),
        ("webhook.port=70000", "port"),
        ("webhook.prt=1", "prt"),
        (r#"logging.format="xml""#, "format"),
        (r#"imagePullPolicy="Sometimes""#, "imagePullPolicy"),
        (r#"imagePullSecrets=["a"]"#, "imagePullSecrets"),
        (r#"image="two words""#, "image"),
        (r#"modules.configMaps=["Upper"]"#, "configMaps"),
        (r#"modules.settings={"las":3}"#, "las"),
        ("cert-manager.installCRDs=true", "installCRDs"),
        (r#"cert-manager.issuerRef={"kind":"ClusterIssuer"}"#, "issuerRef"),
        ("runAsUser=0", "runAsUser"),
        ("shutdown.drainSeconds=-1", "drainSeconds"),
        (r#"rbac.extraRules=[{"apiGroups":[""],"resources":["*"],"verbs":["get"]}]"#, "extraRules"),
        (r#"rbac.extraRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["*"]}]"#, "extraRules"),
        (r#"nodeSelector={"a":true}"#, "nodeSelector"),
        (r#"cache.sizeLimit="much""#, "sizeLimit"),
        (r#"listenAddress="localhost""#, "listenAddress"),
        ("extraArgs=[1]", "extraArgs"),
    ] {
        let why = refusal(&[set]);
        assert!(why.contains(named), "{set}: {why}");
    }
}

#[test]
fn an_operator_without_modules_is_refused_with_what_to_set() {
    let why = refusal(&["modules.fromImage=false", "modules.configMaps=[]"]);
    assert!(why.contains("modules.fromImage") && why.contains("modules.configMaps"), "{why}");
}

/// Calls `see` with each object of a schema and its path.
fn walk(path: &str, schema: &Value, see: &mut dyn FnMut(&str, &Value)) {
    see(path, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), inner, see);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], see);
    }
}

#[test]
fn the_schema_describes_everything_and_knows_all_names() {
    let schema: Value = serde_json::from_str(&text("values.schema.json")).unwrap();
    walk("", &schema, &mut |path, inner| {
        if !path.ends_with("[]") {
            assert!(inner["description"].is_string(), "{path} is not described");
        }
        if inner["properties"].is_object() {
            assert_eq!(inner["additionalProperties"], false, "{path} takes names that nobody knows");
        }
    });
}

/// The values that the table of the README has to name: those of the file, down to what the schema gives names to.
fn paths(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let properties = schema["properties"].as_object();
    match (properties, value.as_object()) {
        (Some(properties), Some(map)) if !map.is_empty() && path != "resources" => {
            for (name, inner) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(&path, &properties[name], inner, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn the_readme_has_a_line_for_every_value_and_none_for_others() {
    let schema: Value = serde_json::from_str(&text("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&text("values.yaml")).unwrap();
    let mut expected = Vec::new();
    paths("", &schema, &values, &mut expected);
    let readme = text("README.md");
    let (_, table) = readme.split_once("## Values").unwrap();
    let first = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let mut named: Vec<String> = first.flat_map(|cell| cell.split(", ")).map(|name| name.replace('`', "")).collect();
    expected.sort();
    named.sort();
    assert_eq!(named, expected);
}

#[test]
fn the_schema_knows_no_value_that_the_file_does_not_show() {
    let schema: Value = serde_json::from_str(&text("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&text("values.yaml")).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let known: Vec<String> = names(&schema["properties"]).into_iter().filter(|name| name != "global").collect();
    let mut shown = names(&values);
    shown.sort();
    assert_eq!(shown, known);
}
