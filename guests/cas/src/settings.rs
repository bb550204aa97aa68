//! What an administrator of the operator sets, and for which images that vouches.

use operator_guest::{Cause, Settings};
use scone_api::{SconeSettings, syntax::is_image};
use serde::Deserialize;

/// The backup controller's repository in the registry of the settings.
const BACKUP: &str = "backup-controller";

/// What an administrator of the operator sets for this module.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CasSettings {
    /// Where the operator and LAS are.
    pub(crate) namespace: String,
    /// Where images come from.
    registry: String,
    /// The tag of images that name none.
    version: String,
    /// Further repositories whose images may be backup controllers, such as mirrors.
    backup_images: Vec<String>,
}

impl Default for CasSettings {
    fn default() -> Self {
        let SconeSettings { namespace, registry, version } = SconeSettings::default();
        Self { namespace, registry, version, backup_images: Vec::new() }
    }
}

impl CasSettings {
    /// The settings that all modules have.
    pub(crate) fn shared(&self) -> SconeSettings {
        SconeSettings {
            namespace: self.namespace.clone(),
            registry: self.registry.clone(),
            version: self.version.clone(),
        }
    }

    /// The repository of backup controllers that needs no setting.
    pub(crate) fn backup_repository(&self) -> String {
        format!("{}/{BACKUP}", self.registry.trim_end_matches('/'))
    }

    /// Whether the administrator vouches for the code of a backup controller. Repositories are compared whole: a longer
    /// one is somebody else's.
    pub(crate) fn vouches_for(&self, image: &str) -> bool {
        let repository = repository(image);
        repository == self.backup_repository() || self.backup_images.iter().any(|listed| listed == repository)
    }
}

/// An image without tag and digest. A colon before the last slash is that of a port.
pub(crate) fn repository(image: &str) -> &str {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    match named.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => named,
    }
}

/// Refuses settings that are unknown, and repositories that are none: no image would be of them.
pub(crate) fn judge(settings: &Settings) -> Result<(), Vec<Cause>> {
    let settings: CasSettings = settings.decode()?;
    let listed = settings.backup_images.iter().enumerate();
    let wrong = listed.filter(|(_, listed)| !is_image(listed) || repository(listed) != *listed);
    let causes: Vec<_> = wrong
        .map(|(at, listed)| {
            let message =
                format!("{listed:?} is no repository; write one without tag, digest and *, such as mirror/{BACKUP}");
            Cause::invalid(format!("backupImages[{at}]"), message)
        })
        .collect();
    if causes.is_empty() { Ok(()) } else { Err(causes) }
}
