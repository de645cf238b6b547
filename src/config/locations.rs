//! Where the configuration is read from.

use std::path::{Path, PathBuf};

use super::Side;

/// Where the env files are.
#[derive(Debug, Clone, Default)]
pub struct Locations {
    /// The directory of `.env.production` and `.env`; empty is the current one.
    pub dir: PathBuf,
    /// Read instead of `.env.production`; relative to the current directory, not to `dir`.
    pub source_env: Option<PathBuf>,
    /// Read instead of `.env`; relative to the current directory, not to `dir`.
    pub target_env: Option<PathBuf>,
}

impl Locations {
    pub(crate) fn env_file(&self, side: Side) -> PathBuf {
        let given = match side {
            Side::Source => &self.source_env,
            Side::Target => &self.target_env,
        };
        given.clone().unwrap_or_else(|| self.beside_env_files(side.file_name()))
    }

    pub(crate) fn beside_env_files(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path)
    }
}
