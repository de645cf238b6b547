//! The target's disk is full: a small file system in memory, where the account may mount one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::case::{Case, Lane};
use crate::check;
use crate::record::Recording;
use crate::servers::Which;
use crate::way::Way;
use crate::world::{Failure, Harm, Verdict, World, ensure};

/// What is left on the disk when the run begins, in KiB.
const LEFT: [u64; 8] = [0, 8, 16, 24, 32, 40, 48, 56];

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    if !Disk::is_possible() {
        return Vec::new();
    }
    LEFT.iter().map(|left| full(recording.way, *left)).collect()
}

fn full(way: Way, left: u64) -> Case {
    let point = format!("{left} KiB left");
    Case::new("disk full", way, point, Lane::OwnServers, move |world: &mut World| {
        Box::pin(async move {
            let disk = Disk::mount(&world.pair.directory(Which::Target))?;
            let space = format!("space_{}", world.target);
            let admin = world.pair.url(Which::Target, "postgres");
            for sql in [
                format!("CREATE TABLESPACE {space} LOCATION '{}'", disk.0.join("space").display()),
                format!("ALTER DATABASE {} SET TABLESPACE {space}", world.target),
            ] {
                crate::support::servers::execute(&admin, &sql).await;
            }
            disk.fill(left);
            let ran = world.run().await;
            disk.free();
            let done = match ran {
                Ok(ran) => check::ended(world, &ran, &[5]).await,
                Err(failure) => Err(failure),
            };
            for sql in [
                format!("ALTER DATABASE {} SET TABLESPACE pg_default", world.target),
                format!("DROP TABLESPACE {space}"),
            ] {
                crate::support::servers::execute(&admin, &sql).await;
            }
            done
        })
    })
}

/// A mounted file system with the directory `space` for the server.
struct Disk(PathBuf);

impl Disk {
    fn is_possible() -> bool {
        let there = tempfile::tempdir().unwrap();
        Self::mount(there.path()).is_ok()
    }

    fn mount(parent: &Path) -> Verdict<Self> {
        let directory = parent.join("disk");
        fs::create_dir_all(&directory).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&directory).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        ensure(mounted, Harm::Other, || "no file system could be mounted".into())?;
        let disk = Self(directory);
        let space = disk.0.join("space");
        fs::create_dir(&space).unwrap();
        let owner = fs::metadata(parent).unwrap();
        std::os::unix::fs::chown(&space, Some(std::os::unix::fs::MetadataExt::uid(&owner)), None)
            .map_err(|error| Failure { harm: Harm::Other, text: error.to_string() })?;
        Ok(disk)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves this many KiB.
    fn fill(&self, left: u64) {
        let all = vec![0; 64 << 20];
        // As much as fits.
        let _ = fs::write(self.ballast(), all);
        let ballast = fs::OpenOptions::new().write(true).open(self.ballast()).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - left * 1024).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
