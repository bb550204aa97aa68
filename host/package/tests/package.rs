//! Packages made and read again.

#![cfg(test)]

use operator_contract::{CONTRACT_VERSION, MANIFEST_LIMIT, MANIFEST_SECTION, Manifest};
use operator_package::{Package, with_manifest};
use proptest::prelude::*;
use serde_json::json;

fn manifest() -> Manifest {
    serde_json::from_value(json!({
        "name": "thing", "version": "1.0.0", "contract": CONTRACT_VERSION, "codec": "json/1",
        "kinds": [{
            "apiVersion": "example.org/v1", "kind": "Thing", "plural": "things", "scope": "Namespaced",
            "crd": {"spec": {"group": "example.org", "scope": "Namespaced", "versions": [{"name": "v1"}],
                "names": {"kind": "Thing", "plural": "things"}}},
        }],
    }))
    .unwrap()
}

fn component() -> Vec<u8> {
    wat::parse_str(r#"(component (import "outside:thing/telephone@1.0.0" (instance)) (instance $i) (export "scone:operator/admission@1.0.0" (instance $i)))"#).unwrap()
}

fn reason(bytes: Vec<u8>) -> &'static str {
    Package::read(bytes).unwrap_err().reason()
}

fn with_section(name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = component();
    let mut content = vec![u8::try_from(name.len()).unwrap()];
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(body);
    bytes.push(0);
    let mut size = content.len();
    while size >= 0x80 {
        bytes.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
        size >>= 7;
    }
    bytes.push(u8::try_from(size).unwrap());
    bytes.extend(content);
    bytes
}

#[test]
fn a_package_says_what_it_holds() {
    let package = Package::read(with_manifest(&component(), &manifest()).unwrap()).unwrap();
    assert_eq!(package.manifest, manifest());
    assert_eq!(package.imports, ["outside:thing/telephone@1.0.0"]);
    assert_eq!(package.exports, ["scone:operator/admission@1.0.0"]);
    assert_eq!(package.digest.len(), 64);
}

#[test]
fn packaging_twice_gives_the_same_bytes() {
    let once = with_manifest(&component(), &manifest()).unwrap();
    assert_eq!(with_manifest(&once, &manifest()).unwrap(), once);
}

#[test]
fn what_is_no_package_is_refused_by_its_reason() {
    assert_eq!(reason(Vec::new()), "NotWasm");
    assert_eq!(reason(b"#!/bin/sh\n".to_vec()), "NotWasm");
    assert_eq!(reason(wat::parse_str("(module)").unwrap()), "CoreModule");
    assert_eq!(reason(component()), "ManifestMissing");
    assert_eq!(reason(with_section(MANIFEST_SECTION, &vec![b' '; MANIFEST_LIMIT + 1])), "ManifestTooLarge");
    assert_eq!(reason(with_section(MANIFEST_SECTION, b"{")), "ManifestInvalid");
}

#[test]
fn two_manifests_are_one_too_many() {
    let mut package = with_manifest(&component(), &manifest()).unwrap();
    let second = with_manifest(&component(), &manifest()).unwrap();
    package.extend_from_slice(&second[component().len()..]);
    assert_eq!(reason(package), "ManifestRepeated");
}

proptest! {
    #[test]
    fn reading_never_panics_on_a_package_that_was_cut_or_changed(cut in 0_usize..400, at in 0_usize..400, byte: u8) {
        let mut package = with_manifest(&component(), &manifest()).unwrap();
        package.truncate(package.len().saturating_sub(cut));
        if let Some(place) = package.get_mut(at) { *place = byte; }
        drop(Package::read(package));
    }

    #[test]
    fn reading_never_panics_on_arbitrary_bytes(bytes: Vec<u8>) {
        let mut package = b"\0asm\x0d\0\x01\0".to_vec();
        package.extend(bytes);
        drop(Package::read(package));
    }
}
