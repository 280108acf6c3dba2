//! Where the master key comes from.

use std::path::PathBuf;

use crate::config::Config;
use crate::operate::key_files::{self, KeyError};
use crate::vault::{MasterKey, Vault};
use crate::world::Entropy;

/// The master key, and the next one while the key is being replaced.
#[derive(Debug)]
pub struct Keys {
    /// As it is configured.
    pub key: MasterKey,
    /// What lies beside the store.
    pub next: Option<MasterKey>,
}

impl Keys {
    /// The configured key, or the key file's; `None` if it has not been made yet.
    pub fn find(config: &Config) -> Result<Option<Keys>, KeyError> {
        let key = match &config.key.secret {
            Some(secret) => {
                let key = MasterKey::parse(secret.expose());
                Some(key.map_err(|error| KeyError::NotAKey { origin: "key.secret".to_owned(), error })?)
            }
            None => key_files::find(&config.key.file)?,
        };
        let Some(key) = key else { return Ok(None) };
        Ok(Some(Keys { key, next: key_files::find(&next(config))? }))
    }

    /// The same, or a new key in the key file if there is no store yet.
    pub(super) fn find_or_make(config: &Config, there_is_a_store: bool, entropy: &dyn Entropy) -> Result<Keys, KeyError> {
        if let Some(keys) = Keys::find(config)? {
            return Ok(keys);
        }
        let path = &config.key.file;
        if there_is_a_store {
            return Err(KeyError::Missing(path.clone()));
        }
        let key = MasterKey::generate(entropy);
        key_files::make(path, &key)?;
        tracing::info!(key.id = %key.id(), "a master key was made: keep a copy of the file away from this machine");
        Ok(Keys { key, next: None })
    }

    /// A vault that knows all of them.
    pub fn vault(&self, entropy: &dyn Entropy) -> Vault {
        let vault = Vault::new(&self.key, entropy);
        if let Some(next) = &self.next {
            vault.learn(next);
        }
        vault
    }
}

/// Where the next key lies: in the data directory, which lives as long as what is sealed under it.
pub(super) fn next(config: &Config) -> PathBuf {
    config.data_dir.join("master.key.next")
}
