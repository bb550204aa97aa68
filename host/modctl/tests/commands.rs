//! The command line as people and programs meet it: what it says, and its exit codes (0 fine, 1 the checked thing is bad,
//! 2 wrong usage or input, 3 internal).
#![cfg(test)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tempfile::TempDir;

/// What a run of `modctl` left behind.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder with the user's files, in which `modctl` is run.
struct Desk(TempDir);

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_modctl"))
            .current_dir(self.0.path())
            .args(arguments)
            .env("SCONE_OPERATOR_CACHE", self.0.path().join("cache"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A command about the LAS module.
    fn las(&self, command: &str, arguments: &[&str]) -> Run {
        let module = modules().join("las.wasm");
        self.run(&[&[command, "--module", module.to_str().unwrap()], arguments].concat())
    }
}

fn modules() -> PathBuf {
    let folder = std::env::var_os("SCONE_OPERATOR_MODULES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| test_support::checkout().join("target/modules"));
    assert!(folder.join("las.wasm").exists(), "{} has no las.wasm; run `cargo xtask modules`", folder.display());
    folder
}

const LAS: &str = "apiVersion: base.scone.cloud/v1beta1\nkind: LAS\nmetadata: {name: las}\nspec:\n  namespace: sys\n";

#[test]
fn help_shows_examples_and_exit_codes() {
    let run = Desk::new(&[]).run(&["--help"]);
    assert_eq!(run.code, Some(0));
    assert!(run.out.contains("modctl plan --module") && run.out.contains("Exit codes: 0 fine, 1"), "{}", run.out);
}

#[test]
fn wrong_usage_ends_with_2() {
    let desk = Desk::new(&[]);
    for arguments in [&["dance"][..], &["plan"], &["inspect"], &["inspect", "x.wasm", "--loud"]] {
        assert_eq!(desk.run(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn inspect_shows_what_a_package_asks_for() {
    let module = modules().join("las.wasm");
    let (desk, module) = (Desk::new(&[]), module.to_str().unwrap().to_owned());
    let text = desk.run(&["inspect", &module]);
    assert_eq!(text.code, Some(0));
    for part in ["las 0.1.0", "base.scone.cloud/v1beta1", "vlas.kb.io", "las.scontain.com/capable", "podLogs"] {
        assert!(text.out.contains(part), "{part} is missing in {}", text.out);
    }
    let json = desk.run(&["inspect", &module, "-o", "json"]).json();
    assert_eq!(json["manifest"]["kinds"][0]["kind"], "LAS");
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn a_damaged_package_is_bad_and_a_missing_one_wrong_input() {
    let desk = Desk::new(&[("las.yaml", LAS)]);
    let whole = std::fs::read(modules().join("las.wasm")).unwrap();
    std::fs::write(desk.0.path().join("cut.wasm"), &whole[..5_000]).unwrap();
    let cut = desk.run(&["inspect", "cut.wasm"]);
    assert_eq!(cut.code, Some(1));
    assert!(cut.err.starts_with("error: cut.wasm: it ends too early") && cut.err.contains("download"), "{}", cut.err);
    assert_eq!(desk.run(&["inspect", "none.wasm"]).code, Some(2));
    assert_eq!(desk.run(&["inspect", "las.yaml"]).code, Some(2));
}

#[test]
fn admit_shows_each_default_and_the_patch() {
    let desk = Desk::new(&[("las.yaml", LAS)]);
    let text = desk.las("admit", &["las.yaml"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains("LAS las: allowed") && text.out.contains("default spec.hostPort: – → 18766"), "{text:?}");
    let json = desk.las("admit", &["las.yaml", "-o", "json"]).json();
    let patch = json["objects"][0]["patch"].as_array().unwrap();
    assert!(patch.iter().any(|step| step["path"] == "/spec/hostPort" && step["value"] == 18766), "{patch:?}");
}

#[test]
fn admit_names_file_line_field_and_fix_of_what_the_module_refuses() {
    let desk = Desk::new(&[("bad.yaml", &format!("{LAS}  dcapKey: nothex\n"))]);
    let text = desk.las("admit", &["bad.yaml"]);
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.out.contains("bad.yaml:6: spec.dcapKey: must be 32 hexadecimal digits"), "{text:?}");
    let json = desk.las("admit", &["bad.yaml", "-o", "json"]);
    assert_eq!(json.code, Some(1));
    let cause = &json.json()["objects"][0]["causes"][0];
    assert_eq!((cause["line"].as_u64(), cause["field"].as_str()), (Some(6), Some("spec.dcapKey")));
}

#[test]
fn admit_names_the_nearest_field() {
    let desk = Desk::new(&[("bad.yaml", &format!("{LAS}  hostport: 1\n"))]);
    let run = desk.las("admit", &["bad.yaml"]);
    assert_eq!(run.code, Some(1));
    assert!(run.out.contains("bad.yaml:6: spec.hostport: unknown field; did you mean hostPort?"), "{run:?}");
}

#[test]
fn a_kind_that_the_module_does_not_serve_is_wrong_input_with_the_nearest_kind() {
    let desk = Desk::new(&[("kind.yaml", &LAS.replace("LAS", "LSA"))]);
    let run = desk.las("admit", &["kind.yaml"]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("kind.yaml:2:") && run.err.contains("did you mean LAS?"), "{run:?}");
}

#[test]
fn a_file_that_cannot_be_understood_is_wrong_input_with_its_place() {
    let desk = Desk::new(&[("broken.yaml", "a: [1,\nb: }"), ("empty.yaml", "")]);
    std::fs::write(desk.0.path().join("latin.yaml"), b"a: \xff").unwrap();
    let broken = desk.las("admit", &["broken.yaml"]);
    assert_eq!(broken.code, Some(2));
    assert!(broken.err.contains("broken.yaml:2: not YAML, column"), "{broken:?}");
    let latin = desk.las("admit", &["latin.yaml"]);
    assert_eq!(latin.code, Some(2));
    assert!(latin.err.contains("latin.yaml is no UTF-8 from byte 3 on"), "{latin:?}");
    assert_eq!(desk.las("admit", &["none.yaml"]).code, Some(2));
    assert_eq!(desk.las("plan", &["empty.yaml"]).code, Some(2));
}

#[test]
fn settings_that_the_module_refuses_are_wrong_input() {
    let desk = Desk::new(&[("las.yaml", LAS)]);
    for (settings, word) in [("{no", "no JSON object"), ("[]", "no JSON object"), (r#"{"versoin": "1"}"#, "versoin")] {
        for command in ["plan", "admit"] {
            let run = desk.las(command, &["las.yaml", "--settings", settings]);
            assert_eq!(run.code, Some(2), "{command} {settings}: {run:?}");
            assert!(run.err.contains("--settings") && run.err.contains(word), "{run:?}");
        }
    }
}

#[test]
fn plan_shows_what_would_be_made_and_what_the_calls_cost() {
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {sgx.intel.com/capable: 'true'}}\n";
    let desk = Desk::new(&[("las.yaml", LAS), ("state.yaml", node)]);
    let text = desk.las("plan", &["las.yaml", "--state", "state.yaml"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains("create  DaemonSet sys/las") && text.out.contains("instructions"), "{text:?}");
    let json = desk.las("plan", &["las.yaml", "--state", "state.yaml", "-o", "json"]).json();
    assert_eq!(json["plan"][0]["object"], "DaemonSet sys/las");
    assert_eq!(json["stalled"], Value::Null);
    assert!(json["instructions"].as_u64().unwrap() > 10_000, "{json}");
}

#[test]
fn plan_never_shows_what_is_in_a_secret() {
    let key = "0123456789abcdef0123456789abcdef";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: las-dcap, namespace: sys}\ndata: {dcap-key: b2xkLXNlY3JldA==}\n";
    let adopts = LAS.replace("{name: las}", "{name: las, annotations: {operator.scone.cloud/adopt: Secret/las-dcap}}");
    let desk = Desk::new(&[("las.yaml", &format!("{adopts}  dcapKey: '{key}'\n")), ("state.yaml", secret)]);
    for more in [&[][..], &["-o", "json"]] {
        let run = desk.las("plan", &[&["las.yaml", "--state", "state.yaml"], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.out.contains("data.dcap-key"), "{run:?}");
        for hidden in [key, "b2xkLXNlY3JldA", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"] {
            assert!(!run.out.contains(hidden) && !run.err.contains(hidden), "{hidden} is shown in {run:?}");
        }
    }
}

#[test]
fn plan_refuses_what_admission_refuses_with_its_place() {
    let desk = Desk::new(&[("bad.yaml", &format!("{LAS}  dcapKey: nothex\n"))]);
    let run = desk.las("plan", &["bad.yaml"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("bad.yaml:6: spec.dcapKey"), "{run:?}");
}

#[test]
fn a_state_that_fits_no_schema_is_wrong_input() {
    let desk = Desk::new(&[("las.yaml", LAS), ("state.yaml", "apiVersion: v1\nkind: Nod\nmetadata: {name: n}\n")]);
    let run = desk.las("plan", &["las.yaml", "--state", "state.yaml"]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("state.yaml:2: kind: v1 Nod is not served; did you mean Node?"), "{run:?}");
}

fn simulate(script: &str, more: &[&str]) -> Run {
    let desk = Desk::new(&[("s.scenario", script), ("las.yaml", LAS)]);
    let modules = modules();
    desk.run(&[&["simulate", "s.scenario", "--modules", modules.to_str().unwrap()], more].concat())
}

#[test]
fn simulate_stops_at_the_first_thing_that_is_not_as_expected() {
    let run = simulate("node n\nexpect Node n metadata.labels[a] is b\nnode m\n", &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("s.scenario:2:") && !run.out.contains("node m"), "{run:?}");
}

#[test]
fn simulate_tells_what_is_wrong_with_a_script() {
    for (script, place) in [
        ("dance\n", "s.scenario:1:"),
        ("node n\nnode\n", "s.scenario:2:"),
        ("module none\n", "there are"),
        ("apply ../secret.yaml\n", "beside the script"),
    ] {
        let run = simulate(script, &[]);
        assert_eq!(run.code, Some(2), "{script}: {run:?}");
        assert!(run.err.contains(place), "{script}: {run:?}");
    }
}

#[test]
fn simulate_gives_programs_one_json_line_a_step() {
    let run = simulate("namespace sys\nmodule las\napply las.yaml\nsettle\n", &["-o", "json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "four steps and the summary");
    assert_eq!(lines[2]["step"], "apply");
    assert_eq!(lines[4]["steps"], 4);
}

#[test]
fn build_says_what_it_needs() {
    let desk = Desk::new(&[]);
    let run = desk.run(&["build", "nowhere"]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("nowhere/Cargo.toml") && run.err.contains("name the folder of a crate"), "{run:?}");
}

#[test]
fn the_rights_of_modules_come_as_a_role_that_a_cluster_takes() {
    let (las, sgx) = (modules().join("las.wasm"), modules().join("sgxplugin.wasm"));
    let rbac = |order: [&Path; 2]| {
        let run = Desk::new(&[]).run(&["rbac", order[0].to_str().unwrap(), order[1].to_str().unwrap(), "-o", "yaml"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.out
    };
    let yaml = rbac([&las, &sgx]);
    assert_eq!(yaml, rbac([&sgx, &las]), "the order of packages changes nothing");
    let role: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!((&role["kind"], &role["metadata"]["name"]), (&"ClusterRole".into(), &"scone-operator-modules".into()));
    let nodes = role["rules"].as_array().unwrap().iter().find(|rule| rule["resources"][0] == "nodes").unwrap();
    assert_eq!(
        nodes["verbs"],
        serde_json::json!(["get", "list", "patch", "watch"]),
        "labels need no update and no delete"
    );
    assert!(!yaml.contains("'*'") && !yaml.contains("\"*\""), "{yaml}");
}

#[test]
fn a_packages_configmap_holds_it_compressed_and_is_the_same_each_time() {
    let module = modules().join("las.wasm");
    let configmap =
        || Desk::new(&[]).run(&["configmap", module.to_str().unwrap(), "--name", "las", "--namespace", "sys"]);
    let run = configmap();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.out, configmap().out);
    assert!(run.out.len() < 1024 * 1024, "{} bytes", run.out.len());
    let map: Value = serde_saphyr::from_str(&run.out).unwrap();
    assert_eq!(map["metadata"], serde_json::json!({"name": "las", "namespace": "sys"}));
    let packed = STANDARD.decode(map["binaryData"]["las.wasm.gz"].as_str().unwrap()).unwrap();
    let desk = Desk::new(&[]);
    std::fs::write(desk.0.path().join("las.wasm.gz"), packed).unwrap();
    let digest = |run: Run| run.json()["digest"].clone();
    let unpacked = digest(desk.run(&["inspect", "las.wasm.gz", "-o", "json"]));
    assert_eq!(unpacked, digest(desk.run(&["inspect", module.to_str().unwrap(), "-o", "json"])));
}

#[test]
fn what_no_configmap_holds_is_refused_before_a_cluster_does_so() {
    let (las, next) = (modules().join("las.wasm"), modules().join("las-next.wasm"));
    let run = Desk::new(&[]).run(&["configmap", las.to_str().unwrap(), next.to_str().unwrap()]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("second package for las.wasm.gz"), "{}", run.err);
    let none = Desk::new(&[]).run(&["rbac", "las.txt"]);
    assert!(none.err.contains("packages end in .wasm or .wasm.gz"), "{}", none.err);
}
