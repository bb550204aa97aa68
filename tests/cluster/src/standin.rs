//! Stand-ins for images that cannot be had here.

use crate::Image;

/// Where SCONE's own images come from unless somebody says otherwise.
const REGISTRY: &str = "registry.scontain.com/scone.cloud";
/// The label that tells them from the real ones.
const LABEL: &str = "org.opencontainers.image.description";

/// SCONE's images under their own names, with this tag, labelled as what they are. `program` does what probes and kubelet see; `cas` is the
/// stand-in for CAS with the libraries that it needs, by their paths.
pub(crate) fn images(program: &[u8], cas: &[(String, Vec<u8>)], tag: &str) -> Vec<Image> {
    let image = |name: &str| {
        Image::new(&format!("{REGISTRY}/{name}:{tag}"))
            .program("bin/standin", program)
            .entrypoint(&["/bin/standin", name])
            .label(LABEL, "a stand-in for tests, not the image of this name")
            // Most must not run as root.
            .user(10_001)
    };
    let linked = |image: Image, names: &[&str]| {
        names.iter().fold(image, |image, name| image.link(&format!("bin/{name}"), "standin"))
    };
    // Their probes and questions are commands.
    let mut images = vec![linked(image("las"), &["sh", "scone"]), image("sgx-plugin").user(0)];
    images.extend(["backup-controller", "vault"].map(image));
    if let Some((serves, _)) = cas.first() {
        let served = cas.iter().fold(image("cas"), |image, (path, bytes)| image.program(path, bytes));
        let served = served.entrypoint(&[&format!("/{serves}")]).variable("STAND_IN_UNPROVISIONED", "true");
        images.push(linked(served, &["scone", "stat", "df", "tail"]));
    }
    images
}
