//! A certificate manager, and the kubelet that mounts what it wrote.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Makes an authority and a certificate for 127.0.0.1, and mounts them as kubelet does: files in a folder of their own, and a link that
/// is swapped. Gives the authority in PEM.
pub fn mount(folder: &Path, version: &str) -> String {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &Issuer::new(params, authority)).unwrap().pem();
    let place = folder.join(version);
    std::fs::create_dir(&place).unwrap();
    for (name, text) in [("tls.crt", certificate), ("tls.key", key.serialize_pem()), ("ca.crt", ca.clone())] {
        std::fs::write(place.join(name), text).unwrap();
        let link = folder.join(name);
        if !link.is_symlink() {
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
    }
    std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    ca
}
