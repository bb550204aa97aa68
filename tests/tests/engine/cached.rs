//! Compiled code of a shipped kind of module, on a disk that somebody else has written to.

use std::{fs, path::PathBuf};

use cap_std::{ambient_authority, fs::Dir};
use operator_engine::{Compiler, Engine, EngineConfig, LoadError, Loaded};

use super::{greeting, packaged, read, snapshot};

/// At so many places of a file a byte is changed: headers, code, data, and the MAC, which is the end.
const PLACES: usize = 12;

#[test]
fn compiled_code_with_one_changed_byte_is_never_run_wherever_the_byte_is() {
    let folder = tempfile::tempdir().unwrap();
    let package = read(&packaged("good")).unwrap();
    let engine = |compiler: Compiler| {
        let cache = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        Engine::new(EngineConfig::new(compiler).with_cache(cache)).unwrap()
    };
    let load = |engine: &Engine| -> Result<Loaded, LoadError> {
        engine.load(package.manifest.clone(), &package.digest, &package.component)
    };
    let compiling = engine(Compiler::locate().unwrap());
    load(&compiling).unwrap();
    // What loads without a compiler comes from the file.
    let without = engine(Compiler::at("/nowhere"));
    let from_file = || load(&without);
    let file = compiled(folder.path().join("compiled"));
    let whole = fs::read(&file).unwrap();
    assert!(from_file().is_ok(), "as it is, it is taken");

    for place in 0..=PLACES {
        let at = (whole.len() - 1) * place / PLACES;
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let Err(error) = from_file() else {
            panic!("byte {at} of {} was changed, and the code was taken", whole.len())
        };
        assert_eq!(error.reason(), "CompilerMissing", "byte {at}: {error}");
        assert!(!file.exists(), "byte {at}: what is not right is not kept");
    }
    let again = load(&compiling).unwrap();
    assert!(fs::read(&file).unwrap() == whole, "it is made again, the same");
    assert_eq!(again.reconcile_now(&snapshot(&greeting())).unwrap().children.len(), 1);
}

/// The one file with code.
fn compiled(folder: PathBuf) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let code: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect();
    let [file] = &code[..] else { panic!("{code:?}") };
    file.clone()
}
