//! Stand-ins for images that cannot be had here.

use crate::Image;

/// Where SCONE's own images come from unless somebody says otherwise.
const REGISTRY: &str = "registry.scontain.com/scone.cloud";
/// The label that tells them from the real ones.
const LABEL: &str = "org.opencontainers.image.description";

/// SCONE's images under their own names, with this tag, labelled as what they are. `program` does what probes and kubelet see.
pub(crate) fn images(program: &[u8], tag: &str) -> [Image; 2] {
    let image = |name: &str| {
        Image::new(&format!("{REGISTRY}/{name}:{tag}"))
            .program("bin/standin", program)
            .entrypoint(&["/bin/standin", name])
            .label(LABEL, "a stand-in for tests, not the image of this name")
    };
    // Its pods must not run as root, and its probes are commands.
    let las = image("las").link("bin/sh", "standin").link("bin/scone", "standin").user(10_001);
    [las, image("sgx-plugin")]
}
