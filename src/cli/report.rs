//! The summary of a sync in a file, for whoever looks at it later.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::printable;

/// A file that takes the summary.
pub(super) struct Report {
    path: PathBuf,
    file: File,
}

impl Report {
    /// Made before the sync begins, so that a path that takes no file stops it.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|cause| {
            Error::new(Kind::Usage, format!("could not write the report to `{}`", path.display()))
                .because(cause)
                .hint("check `--report`")
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// What happened has happened, also when the disk is full by now.
    pub(super) fn write(&self, summary: &impl Serialize) {
        let text = serde_json::to_string_pretty(summary).unwrap_or_default();
        if let Err(error) = writeln!(&self.file, "{}", printable::json(&text)) {
            tracing::warn!(%error, "the report could not be written to `{}`", self.path.display());
        }
    }
}
