//! Names of additions that travel in `extensions`. The receiver ignores what it does not know.

/// On an HTTP query: the host answers a registry's challenge (status 401) with credentials. The bytes are names of Secrets of type
/// `kubernetes.io/dockerconfigjson` in the parent's namespace (for cluster-scoped parents: where the module's rule `target` points),
/// one a line; without any the host asks for a token as nobody in particular. Only the server that the Secret lists gets to see them.
pub const REGISTRY_CREDENTIALS: &str = "operator/registry-credentials";

/// On an answer to an HTTPS query or action, also on a failed one: the SHA-256 of the server's own certificate, DER, as 64 lower-case
/// hexadecimal digits; absent when no certificate was seen. Nothing is sent to a server that is not trusted, so a module that is told
/// to trust on first use asks, reads this, and asks again with the certificate pinned.
pub const SERVER_CERTIFICATE: &str = "operator/server-certificate-sha256";
