//! The rules of `wit/README.md`: what was released stays as it is, what is new fits to it, and everything is explained.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at what it did not expect")]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use sha2::{Digest, Sha256};
use wit_parser::{Docs, Interface, PackageId, Resolve, SourceMap, TypeDefKind};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(name)
}

/// The files of a contract folder by name.
fn files(name: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// Adds the package in `files` to `resolve`, as `version`: two packages of one name and version cannot stand side by side.
fn add(resolve: &mut Resolve, files: BTreeMap<String, String>, version: &str) -> PackageId {
    let mut sources = SourceMap::new();
    for (name, text) in files {
        let declared = format!("package scone:operator@{};", operator_contract::CONTRACT_VERSION);
        assert!(text.starts_with(&declared), "{name} must start with `{declared}`");
        sources.push_str(&name, text.replacen(&declared, &format!("package scone:operator@{version};"), 1));
    }
    resolve.push_group(sources.parse().map_err(|(_, error)| error).unwrap()).unwrap()
}

#[test]
fn every_released_world_still_fits_the_current_one() {
    let mut resolve = Resolve::default();
    let released = add(&mut resolve, files("frozen/v1"), "1.0.0");
    let current = add(&mut resolve, files("v1"), "1.999.0");
    let worlds: Vec<_> = resolve.packages[released].worlds.keys().cloned().collect();
    assert_eq!(worlds, ["reconciler", "admitter", "operator"]);
    for world in worlds {
        let before = resolve.packages[released].worlds[&world];
        let after = *resolve.packages[current].worlds.get(&world).unwrap_or_else(|| panic!("world {world} is gone"));
        wit_component::semver_check(resolve.clone(), before, after)
            .unwrap_or_else(|error| panic!("world {world} breaks modules that are already built: {error:#}"));
    }
}

#[test]
fn a_field_that_is_added_to_a_record_breaks_the_contract() {
    let mut changed = files("v1");
    let types = changed.get_mut("types.wit").unwrap();
    *types = types.replacen("record cause {", "record cause {\n        /// New.\n        hint: string,", 1);
    let mut resolve = Resolve::default();
    let released = add(&mut resolve, files("frozen/v1"), "1.0.0");
    let current = add(&mut resolve, changed, "1.999.0");
    let (before, after) = (resolve.packages[released].worlds["operator"], resolve.packages[current].worlds["operator"]);
    assert!(wit_component::semver_check(resolve, before, after).is_err());
}

#[test]
fn released_files_are_never_edited() {
    let mut found = String::new();
    for (name, text) in files("frozen/v1") {
        for byte in Sha256::digest(text) {
            write!(found, "{byte:02x}").unwrap();
        }
        writeln!(found, "  v1/{name}").unwrap();
    }
    let recorded = fs::read_to_string(folder("frozen/SHA256SUMS")).unwrap();
    assert_eq!(
        found, recorded,
        "a released file changed: undo it and add a new interface instead. Before 1.0.0 is released, copy v1 to frozen/v1 and \
         run `sha256sum v1/* > SHA256SUMS` in wit/frozen"
    );
}

#[test]
fn the_package_and_the_crate_name_the_same_version() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder("v1")).unwrap();
    let name = &resolve.packages[package].name;
    assert_eq!(name.to_string(), format!("scone:operator@{}", operator_contract::CONTRACT_VERSION));
}

#[test]
fn every_item_is_documented() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder("v1")).unwrap();
    let mut undocumented = Undocumented::default();
    for (name, id) in &resolve.packages[package].worlds {
        undocumented.check(name, &resolve.worlds[*id].docs);
    }
    for (name, id) in &resolve.packages[package].interfaces {
        undocumented.check_interface(&resolve, name, &resolve.interfaces[*id]);
    }
    assert!(undocumented.0.is_empty(), "without a doc comment: {:#?}", undocumented.0);
}

#[derive(Default)]
struct Undocumented(Vec<String>);

impl Undocumented {
    fn check(&mut self, place: &str, docs: &Docs) {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            self.0.push(place.to_owned());
        }
    }

    fn check_interface(&mut self, resolve: &Resolve, interface: &str, items: &Interface) {
        self.check(interface, &items.docs);
        for (name, function) in &items.functions {
            self.check(&format!("{interface}.{name}"), &function.docs);
        }
        for (name, id) in &items.types {
            let item = &resolve.types[*id];
            let place = format!("{interface}.{name}");
            let members: Vec<(&str, &Docs)> = match &item.kind {
                // `use other.{name}`: explained where it is defined.
                TypeDefKind::Type(wit_parser::Type::Id(original)) if resolve.types[*original].owner != item.owner => {
                    continue;
                }
                TypeDefKind::Record(record) => record.fields.iter().map(|field| (&*field.name, &field.docs)).collect(),
                TypeDefKind::Variant(variant) => variant.cases.iter().map(|case| (&*case.name, &case.docs)).collect(),
                TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| (&*case.name, &case.docs)).collect(),
                TypeDefKind::Flags(flags) => flags.flags.iter().map(|flag| (&*flag.name, &flag.docs)).collect(),
                _ => Vec::new(),
            };
            self.check(&place, &item.docs);
            for (member, docs) in members {
                self.check(&format!("{place}.{member}"), docs);
            }
        }
    }
}
