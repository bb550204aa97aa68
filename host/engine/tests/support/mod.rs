//! Modules written by hand: one behaviour each, in the text format, so that nothing between it and the engine is in doubt.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fmt::Write as _;

use cap_std::{ambient_authority, fs::Dir};
use operator_contract::{Budgets, Codec, Grants, Manifest, Operation, ParentKind, Phase, Scope, WebhookRule};
use operator_core::{Document, ObjectRef, Request, Snapshot, User};
use operator_engine::{Compiler, Engine, EngineConfig, LoadError, Loaded};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Leaves the answer's memory as it is: zeros mean an empty answer.
pub(crate) const EMPTY: &str = "i32.const 256";

/// One module: the bodies of its functions, and what stands beside them.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) manifest: Manifest,
    pub(crate) world: &'static str,
    /// Replaced in the contract before it is embedded: a module that was built against another one.
    pub(crate) contract: Vec<(&'static str, &'static str)>,
    /// One more WIT package that the contract may name.
    pub(crate) package: &'static str,
    pub(crate) reconcile: String,
    pub(crate) admit: String,
    /// Further items of the core module; imports come first.
    pub(crate) imports: String,
    pub(crate) items: String,
    /// What `describe` says; the manifest when none.
    pub(crate) described: Option<String>,
    /// What it does before.
    pub(crate) describing: &'static str,
    pub(crate) pages: u32,
}

impl Guest {
    /// A module that answers with nothing.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            manifest: manifest(name),
            world: "operator",
            contract: Vec::new(),
            package: "",
            reconcile: EMPTY.into(),
            admit: EMPTY.into(),
            imports: String::new(),
            items: String::new(),
            described: None,
            describing: "",
            pages: 4,
        }
    }

    /// A module with this body of `reconcile`.
    pub(crate) fn reconciling(body: &str) -> Self {
        Self { reconcile: body.into(), ..Self::new("wat") }
    }

    pub(crate) fn with_items(mut self, items: &str) -> Self {
        self.items = items.into();
        self
    }

    pub(crate) fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.manifest.budgets = budgets;
        self
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut core = wat::parse_str(self.text()).unwrap();
        let mut resolve = Resolve::default();
        let folder = test_support::checkout().join("wit/v1");
        if !self.package.is_empty() {
            resolve.push_str("package.wit", self.package).unwrap();
        }
        let package = if self.contract.is_empty() {
            resolve.push_dir(folder).unwrap().0
        } else {
            let copy = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(folder).unwrap() {
                let file = file.unwrap();
                if file.path().extension().is_some_and(|e| e == "wit") {
                    let mut text = std::fs::read_to_string(file.path()).unwrap();
                    for (old, new) in &self.contract {
                        text = text.replace(old, new);
                    }
                    std::fs::write(copy.path().join(file.file_name()), text).unwrap();
                }
            }
            resolve.push_dir(copy.path()).unwrap().0
        };
        let world = resolve.select_world(&[package], Some(self.world)).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
    }

    pub(crate) fn load(&self, engine: &Engine) -> Result<Loaded, LoadError> {
        engine.load(self.manifest.clone(), &"0".repeat(64), &self.component())
    }

    fn text(&self) -> String {
        let described = self.described.clone().unwrap_or_else(|| serde_json::to_string(&self.manifest).unwrap());
        let mut functions = String::new();
        let mut function = |name: &str, types: &str, body: &str| {
            writeln!(functions, "(func (export \"scone:operator/{name}\") {types} {body})").unwrap();
        };
        let version =
            self.contract.iter().find(|(old, _)| *old == "operator@1.0.0").map_or("1.0.0", |(_, new)| &new[9..]);
        function(
            &format!("lifecycle@{version}#describe"),
            "(result i32)",
            &format!("{} (i32.const 240)", self.describing),
        );
        function(&format!("lifecycle@{version}#validate-settings"), "(param i32 i32) (result i32)", EMPTY);
        if self.world != "admitter" {
            let types = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)";
            function(&format!("reconciliation@{version}#reconcile"), types, &self.reconcile);
        }
        if self.world != "reconciler" {
            function(&format!("admission@{version}#admit"), "(param i32) (result i32)", &self.admit);
        }
        if self.world == "operator" {
            function(&format!("conversion@{version}#convert"), "(param i32 i32 i32 i32) (result i32)", EMPTY);
        }
        format!(
            r#"(module {imports}
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const 131072))
                (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    global.get $next
                    (global.set $next (i32.add (global.get $next) (local.get 3))))
                (data (i32.const 240) "{pointer}")
                (data (i32.const 65536) "{json}")
                {items} {functions})"#,
            imports = self.imports,
            pages = self.pages,
            items = self.items,
            pointer =
                escaped(&[65_536_u32.to_le_bytes(), u32::try_from(described.len()).unwrap().to_le_bytes()].concat()),
            json = escaped(described.as_bytes()),
        )
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn manifest(name: &str) -> Manifest {
    Manifest {
        name: name.into(),
        version: "1.2.3".into(),
        description: String::new(),
        contract: "1.0.0".into(),
        codec: Codec::Json1,
        kinds: vec![ParentKind {
            api_version: "example.org/v1".into(),
            kind: "Thing".into(),
            plural: "things".into(),
            scope: Scope::Namespaced,
            crd: serde_json::json!({}),
        }],
        webhooks: vec![WebhookRule {
            name: "things.example.org".into(),
            path: "/validate-things".into(),
            kind: "Thing".into(),
            phase: Phase::Validate,
            operations: vec![Operation::Create],
            status: true,
        }],
        grants: Grants::default(),
        budgets: Budgets::default(),
        now_granularity: None,
        finalizer: false,
    }
}

/// The compiler that was built with this test.
pub(crate) fn compiler() -> Compiler {
    Compiler::at(env!("CARGO_BIN_EXE_operator-compiler"))
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig { slots: 4, threads: 2, ..EngineConfig::new(compiler()) }
}

pub(crate) fn engine() -> Engine {
    Engine::new(config()).unwrap()
}

pub(crate) fn folder(path: &std::path::Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot::of(Document::new(&br#"{"apiVersion":"example.org/v1","kind":"Thing","metadata":{"name":"a"}}"#[..]))
}

pub(crate) fn request() -> Request {
    Request {
        phase: Phase::Validate,
        operation: Operation::Create,
        identity: ObjectRef::namespaced("example.org/v1", "Thing", "default", "a"),
        subresource: None,
        object: Some(Document::new(&b"{}"[..])),
        old_object: None,
        user: User { name: "eve".into(), groups: vec!["devs".into()] },
        dry_run: false,
        settings: Document::new(&b"{}"[..]),
    }
}
