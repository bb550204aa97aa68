//! Each module twice: its crate, linked into this program, and its package, loaded into the engine.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::LazyLock,
};

use cap_std::{ambient_authority, fs::Dir};
use operator_core::{Document, FailureKind, Request, Snapshot, contract::Manifest};
use operator_engine::{Compiler, Engine, EngineConfig, Loaded};
use operator_guest::{Module, native, testing, wire};
use operator_package::{Folder, Package};

use crate::{
    answered, logs,
    outcome::{Answer, Outcome},
    told,
};

/// The modules under `guests`, and the one that stands for a next version of LAS in scenarios. A module that is missing here fails a test.
const NATIVES: [(&str, Native); 8] = [
    ("cas", Native::of::<cas::CasModule>()),
    ("encrypted-policy", Native::of::<encrypted_policy::EncryptedPolicyModule>()),
    ("las", Native::of::<las::LasModule>()),
    ("las-next", Native::of::<las_next::Next>()),
    ("pull-secret", Native::of::<pull_secret::PullSecretModule>()),
    ("sgxplugin", Native::of::<sgxplugin::SGXPluginModule>()),
    ("signed-policy", Native::of::<signed_policy::SignedPolicyModule>()),
    ("vault", Native::of::<vault::VaultModule>()),
];

/// All of them, by name.
pub(crate) static TWINS: LazyLock<BTreeMap<&str, Twin>> = LazyLock::new(|| {
    let folder = Folder::open(&variable("SCONE_OPERATOR_MODULES").display().to_string()).unwrap();
    let twin = |(name, native): (&'static str, Native)| (name, Twin::load(&folder, name, native));
    NATIVES.into_iter().map(twin).collect()
});

/// The engine as it ships, but for its patience: a busy machine must not decide a comparison.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    // Where the tests with a cluster keep what they compiled.
    let compiled = variable("SCONE_OPERATOR_MODULES").with_file_name("compiled-for-tests");
    std::fs::create_dir_all(&compiled).unwrap();
    let mut config = EngineConfig::new(Compiler::locate().unwrap());
    config.defaults.time_ms = 60_000;
    config.ceilings.time_ms = 60_000;
    Engine::new(config.with_cache(Dir::open_ambient_dir(compiled, ambient_authority()).unwrap())).unwrap()
});

fn variable(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test engine`"))
}

/// One call of a module, as the host makes it.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Reconcile(Snapshot),
    Admit(Request),
    Convert(String, Vec<Document>),
    Settings(Document),
}

/// The functions of a module's crate.
#[derive(Clone, Copy)]
pub(crate) struct Native {
    pub(crate) describe: fn() -> Vec<u8>,
    pub(crate) snapshot: fn(&str) -> Result<wire::Snapshot, testing::Error>,
    pub(crate) request: fn(&str) -> Result<wire::Request, testing::Error>,
    call: fn(&Call) -> Answer,
}

impl Native {
    const fn of<M: Module>() -> Self {
        Self {
            describe: native::describe::<M>,
            snapshot: testing::snapshot::<M>,
            request: testing::request::<M>,
            call: call::<M>,
        }
    }
}

fn call<M: Module>(call: &Call) -> Answer {
    let answer = match call {
        Call::Reconcile(snapshot) => {
            native::reconcile::<M>(told::snapshot(snapshot)).map(|desired| Answer::Desired(answered::desired(desired)))
        }
        Call::Admit(request) => {
            native::admit::<M>(told::request(request)).map(|verdict| Answer::Verdict(answered::verdict(verdict)))
        }
        Call::Convert(api_version, objects) => {
            let objects = objects.iter().map(told::bytes).collect();
            let converted = native::convert::<M>(api_version, objects);
            converted.map(|objects| Answer::Converted(objects.into_iter().map(Document::new).collect()))
        }
        Call::Settings(settings) => {
            let judged = native::validate_settings::<M>(told::bytes(settings));
            Ok(Answer::Settings(judged.map_err(answered::causes)))
        }
    };
    answer.unwrap_or_else(|failure| Answer::Refused(answered::refusal(failure)))
}

/// One module, both ways.
pub(crate) struct Twin {
    pub(crate) name: &'static str,
    pub(crate) native: Native,
    pub(crate) package: Package,
    pub(crate) loaded: Loaded,
}

impl Twin {
    fn load(folder: &Folder, name: &'static str, native: Native) -> Self {
        let package = folder.read(name).unwrap_or_else(|error| {
            panic!("{name}: {error}; `cargo xtask modules` builds the modules from this source")
        });
        let loaded = ENGINE.load(package.manifest.clone(), &package.digest, &package.component).unwrap();
        Self { name, native, package, loaded }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.package.manifest
    }

    /// What the crate answers in this process.
    pub(crate) fn natively(&self, call: &Call) -> Outcome {
        let (function, call) = (self.native.call, call.clone());
        let (answer, logs) = logs::of_native(move || catch_unwind(AssertUnwindSafe(|| function(&call))));
        let panicked = |_| Outcome { answer: Answer::Panicked(String::new()), logs: Vec::new() };
        answer.map_or_else(panicked, |answer| Outcome { answer, logs })
    }

    /// What the package answers in the sandbox.
    pub(crate) fn sandboxed(&self, call: &Call) -> Outcome {
        let module = &self.loaded;
        let (answer, logs) = logs::of_sandbox(|| match call {
            Call::Reconcile(snapshot) => module.reconcile_now(snapshot).map(Answer::Desired),
            Call::Admit(request) => module.admit_now(request).map(Answer::Verdict),
            Call::Convert(api_version, objects) => module.convert_now(api_version, objects).map(Answer::Converted),
            Call::Settings(settings) => module.validate_settings_now(settings).map(Answer::Settings),
        });
        match answer.map_err(|failure| failure.kind) {
            Ok(answer) => Outcome { answer, logs },
            Err(FailureKind::Refused(refusal)) => Outcome { answer: Answer::Refused(refusal), logs },
            Err(kind @ FailureKind::Trap { .. }) => {
                Outcome { answer: Answer::Panicked(kind.to_string()), logs: Vec::new() }
            }
            Err(kind) => Outcome { answer: Answer::NotTaken(kind.to_string()), logs },
        }
    }

    /// Makes a call both ways: the answer, or what is wrong.
    ///
    /// # Errors
    ///
    /// The first difference, or that the module panics, which it must not do whatever it is told.
    pub(crate) fn compare(&self, call: &Call) -> Result<Answer, String> {
        let (native, sandbox) = (self.natively(call), self.sandboxed(call));
        match Outcome::difference(&native, &sandbox) {
            Some(difference) => Err(difference),
            None => match (native.answer, sandbox.answer) {
                (Answer::Panicked(_), Answer::Panicked(why)) => Err(format!("on both sides {why}")),
                (answer, _) => Ok(answer),
            },
        }
    }
}
