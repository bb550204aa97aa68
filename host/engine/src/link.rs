//! Whether a component fits this host: contract version, imports, exports.

use operator_contract::{CONTRACT_VERSION, Grants, Manifest};
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker, LinkerInstance, ResourceType, types::ComponentItem},
};

use crate::{
    LoadError,
    bindings::{ADMISSION, Exports, LIFECYCLE, LOGGER, RECONCILIATION, add_logger},
    call::State,
    failure::{CalledWasi, short},
};

/// Longest explanation of the engine in an error, in characters.
const TEXT: usize = 400;

/// Compares the contract that the manifest names with the host's: same major version, and no newer minor one. A newer module
/// on an older host would load until a function is missing.
pub(crate) fn contract(manifest: &Manifest) -> Result<(), LoadError> {
    let refused = |fix| LoadError::Contract {
        module: manifest.name.clone(),
        wanted: short(&manifest.contract, TEXT),
        host: CONTRACT_VERSION,
        fix,
    };
    match (version(&manifest.contract), version(CONTRACT_VERSION)) {
        (Some((major, minor)), Some((host_major, host_minor))) => {
            if major != host_major {
                Err(refused("use a host and a module of the same major version"))
            } else if minor > host_minor {
                Err(refused("update the host, or build the module against the older contract"))
            } else {
                Ok(())
            }
        }
        _ => Err(refused("write the version of the contract as in 1.0.0")),
    }
}

/// Major and minor number of `1.2.3`.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    let version = (numbers.next()??, numbers.next()??);
    numbers.next()??;
    numbers.next().is_none().then_some(version)
}

/// Links a component: it gets the logger, and a WASI in which nothing can be done. Whatever else it imports is refused.
pub(crate) fn link(engine: &Engine, module: &str, component: &Component) -> Result<InstancePre<State>, LoadError> {
    let host = |error: wasmtime::Error| LoadError::Host { module: module.to_owned(), why: explain(&error) };
    let mut linker = Linker::new(engine);
    let mut logger = None;
    for (name, import) in component.component_type().imports(engine) {
        let interface = unversioned(name);
        if interface == LOGGER {
            logger = Some(name.to_owned());
            add_logger(&mut linker, name, |state: &mut State, level, line| state.log.write(level, line))
                .map_err(host)?;
        } else if interface.starts_with("wasi:") {
            nothing(engine, &mut linker.root(), name, name, &import.ty).map_err(host)?;
        } else if !only_types(engine, &import.ty) {
            return Err(LoadError::ForeignImport { module: module.to_owned(), import: short(name, TEXT) });
        }
    }
    linker.instantiate_pre(component).map_err(|error| match logger {
        Some(import) => incompatible(module, &import, &error),
        None => host(error),
    })
}

/// Defines an import of WASI that fails when it is called. It may be linked in without ever being called: tools for other
/// languages, and Rust's own standard library for wasip2, do so.
fn nothing(
    engine: &Engine,
    linker: &mut LinkerInstance<'_, State>,
    name: &str,
    place: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(_) => {
            let called = place.to_owned();
            linker.func_new(name, move |_, _, _, _| Err(CalledWasi(called.clone()).into()))
        }
        ComponentItem::ComponentInstance(instance) => {
            let mut inner = linker.instance(name)?;
            for (name, item) in instance.exports(engine) {
                nothing(engine, &mut inner, name, &format!("{place}#{name}"), &item.ty)?;
            }
            Ok(())
        }
        ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<()>(), |_, _| Ok(())),
        _ => Ok(()),
    }
}

/// Whether an import brings nothing but names for types, as the contract's own `types` does.
fn only_types(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
        }
        _ => false,
    }
}

/// Compares what the component exports with what its manifest needs; types are compared on an instance later.
pub(crate) fn exports(
    engine: &Engine,
    component: &Component,
    exports: &Exports,
    manifest: &Manifest,
) -> Result<(), LoadError> {
    // A module may also judge a kind, CRD and all, that somebody else reconciles.
    let only_judges = !manifest.webhooks.is_empty() && !manifest.finalizer && manifest.grants == Grants::default();
    let needed = [
        (LIFECYCLE, "every module needs it", true),
        (RECONCILIATION, "its manifest asks for more than webhooks", !manifest.kinds.is_empty() && !only_judges),
        (ADMISSION, "its manifest names webhooks", !manifest.webhooks.is_empty()),
    ];
    for (interface, because, needed) in needed {
        if exports.has(interface) {
            continue;
        }
        let component = component.component_type();
        let found = component.exports(engine).find(|(name, _)| unversioned(name) == interface).map(|(name, _)| name);
        let module = manifest.name.clone();
        match found {
            Some(name) => {
                let why = "it has another version, or lacks a function".to_owned();
                return Err(differs(module, name, why));
            }
            None if needed => {
                let interface = format!("{interface}@{CONTRACT_VERSION}");
                return Err(LoadError::MissingExport { module, interface, because });
            }
            None => {}
        }
    }
    Ok(())
}

/// An interface whose types differ from the host's. `name` may carry the module's version.
pub(crate) fn incompatible(module: &str, name: &str, error: &wasmtime::Error) -> LoadError {
    differs(module.to_owned(), name, explain(error))
}

fn differs(module: String, name: &str, why: String) -> LoadError {
    let found = name.split_once('@').map_or("without a version", |(_, version)| version);
    LoadError::Incompatible {
        module,
        interface: unversioned(name).to_owned(),
        found: short(found, TEXT),
        host: CONTRACT_VERSION,
        why,
    }
}

/// The name under which the component exports an interface, with its version.
pub(crate) fn exported_as(engine: &Engine, component: &Component, interface: &str) -> String {
    let component = component.component_type();
    let mut names = component.exports(engine).map(|(name, _)| name);
    names.find(|name| unversioned(name) == interface).unwrap_or(interface).to_owned()
}

/// The chain of what the engine says, from the outside to the first difference.
pub(crate) fn explain(error: &wasmtime::Error) -> String {
    short(&error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "), TEXT)
}

fn unversioned(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    use operator_contract::{Budgets, Codec, Grants};

    use super::*;

    fn judge(contract_version: &str) -> Result<(), String> {
        let manifest = Manifest {
            name: "m".into(),
            version: "1.0.0".into(),
            description: String::new(),
            contract: contract_version.into(),
            codec: Codec::Json1,
            kinds: Vec::new(),
            webhooks: Vec::new(),
            grants: Grants::default(),
            budgets: Budgets::default(),
            now_granularity: None,
            finalizer: false,
        };
        contract(&manifest).map_err(|error| error.to_string())
    }

    #[test]
    fn a_patch_version_does_not_matter() {
        assert_eq!(judge("1.0.7"), Ok(()));
    }

    #[test]
    fn a_newer_minor_version_is_refused_with_both_versions() {
        assert_eq!(
            judge("1.9.0").unwrap_err(),
            format!(
                "module m was built for contract 1.9.0, this host speaks {CONTRACT_VERSION}; update the host, or build the module against the older contract"
            )
        );
    }

    #[test]
    fn another_major_version_is_refused() {
        assert!(judge("2.0.0").unwrap_err().contains("same major version"));
        assert!(judge("0.9.0").is_err());
    }

    #[test]
    fn a_version_that_is_none_is_refused() {
        for version in ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.x"] {
            assert!(judge(version).is_err(), "{version}");
        }
    }
}
