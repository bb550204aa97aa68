//! The simulator's merge table, made from what the API server says about its types on `/openapi/v3`. Its notation is explained
//! in the simulator's `cluster/types/table.rs`.

use std::collections::{BTreeMap, BTreeSet};

use operator_simulator::FakeCluster;
use serde_json::{Map, Value, json};

use super::sides::{Server, Side, get};

/// The table of the kinds that the simulator serves, one line a kind or type.
pub(crate) fn of(server: &Server) -> String {
    let simulator = FakeCluster::new();
    let names = simulator.kind_names().into_iter();
    let wanted: BTreeSet<String> =
        names.filter_map(|kind| Some(format!("{} {kind}", simulator.kind(&kind)?.0))).collect();
    let mut table = Table { schemas: schemas(server, &wanted), types: BTreeMap::new() };
    let roots = table.roots();
    let kinds: BTreeMap<&String, String> = wanted.iter().map(|kind| (kind, roots[kind].clone())).collect();
    for root in kinds.values() {
        table.visit(root);
    }
    let lines = |entries: Vec<String>| entries.join(",\n");
    let kinds = kinds.iter().map(|(kind, root)| format!("    {}: {}", json!(kind), json!(short(root))));
    let types = table.types.iter().filter(|(_, fields)| !fields.is_empty());
    let types = types.map(|(name, fields)| format!("    {}: {}", json!(name), on_one_line(fields)));
    format!(
        "{{\n  \"kinds\": {{\n{}\n  }},\n  \"types\": {{\n{}\n  }}\n}}\n",
        lines(kinds.collect()),
        lines(types.collect())
    )
}

fn on_one_line(fields: &BTreeMap<String, String>) -> String {
    let fields = fields.iter().map(|(name, text)| format!("{}: {}", json!(name), json!(text)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

/// All schemas of the API groups of these kinds.
fn schemas(server: &Server, kinds: &BTreeSet<String>) -> Map<String, Value> {
    let versions: BTreeSet<&str> = kinds.iter().filter_map(|kind| kind.split(' ').next()).collect();
    let mut all = Map::new();
    for version in versions {
        let root = if version.contains('/') { "apis" } else { "api" };
        let answer = server.send(&get(&format!("/openapi/v3/{root}/{version}")));
        assert_eq!(answer.code, 200, "{version}: {}", answer.body);
        all.extend(answer.body["components"]["schemas"].as_object().unwrap().clone());
    }
    all
}

/// `v1.PodSpec`
fn short(name: &str) -> String {
    name.rsplitn(3, '.').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(".")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The name of the type that a schema refers to.
fn reference(schema: &Value) -> Option<String> {
    let of_all = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let found = std::iter::once(schema).chain(of_all).find_map(|part| part.get("$ref")?.as_str())?;
    found.rsplit('/').next().map(str::to_owned)
}

struct Table {
    schemas: Map<String, Value>,
    types: BTreeMap<String, BTreeMap<String, String>>,
}

impl Table {
    /// The type of each kind.
    fn roots(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for (name, schema) in &self.schemas {
            for kind in schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).into_iter().flatten() {
                let group = text(kind, "group");
                let version = text(kind, "version");
                let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
                out.entry(format!("{version} {}", text(kind, "kind"))).or_insert_with(|| name.clone());
            }
        }
        out
    }

    fn visit(&mut self, name: &str) {
        if self.types.contains_key(&short(name)) {
            return;
        }
        self.types.insert(short(name), BTreeMap::new());
        let schema = self.schemas[name].clone();
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (field, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut text = self.shape(of);
            let is_list = of.get("type") == Some(&"array".into());
            match of.get("default") {
                Some(default) if *default == json!({}) && !is_list => text.push('!'),
                Some(default) if [json!(0), json!(""), json!(false)].contains(default) => text = format!("={default}"),
                _ => {}
            }
            if is_list && required.contains(&field.as_str().into()) {
                text.push('?');
            }
            if !text.is_empty() {
                fields.insert(field.clone(), text);
            }
        }
        self.types.insert(short(name), fields);
    }

    fn shape(&mut self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            let of = self.schemas[&name].clone();
            let is_atomic = [schema, &of].iter().any(|schema| text(schema, "x-kubernetes-map-type") == "atomic");
            if of.get("properties").is_none() {
                return String::new();
            }
            if is_atomic {
                return "atomic".to_owned();
            }
            self.visit(&name);
            return short(&name);
        }
        match text(schema, "type") {
            "object" if text(schema, "x-kubernetes-map-type") == "atomic" => "atomic".to_owned(),
            "object" => {
                let entries = schema.get("additionalProperties").map(|entries| self.shape(entries));
                entries.map(|entries| format!("{{}}{entries}")).unwrap_or_default()
            }
            "array" => self.list(schema),
            _ => String::new(),
        }
    }

    fn list(&mut self, schema: &Value) -> String {
        let merges = text(schema, "x-kubernetes-patch-strategy").split(',').any(|strategy| strategy == "merge");
        let merge_key = text(schema, "x-kubernetes-patch-merge-key");
        let keys: Vec<String> = match text(schema, "x-kubernetes-list-type") {
            "set" => return "set".to_owned(),
            "map" => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap().iter();
                keys.filter_map(Value::as_str).map(str::to_owned).collect()
            }
            "" if merges && merge_key.is_empty() => return "set".to_owned(),
            "" if merges => vec![merge_key.to_owned()],
            _ => return String::new(),
        };
        let items = &schema["items"];
        let of = reference(items).map(|name| self.schemas[&name].clone()).unwrap_or_default();
        let key = |name: &String| match of["properties"][name].get("default").and_then(Value::as_str) {
            None | Some("") => name.clone(),
            Some(default) => format!("{name}={default}"),
        };
        format!("[{}]{}", keys.iter().map(key).collect::<Vec<_>>().join(","), self.shape(items))
    }
}
