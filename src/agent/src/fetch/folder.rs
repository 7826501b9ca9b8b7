//! The folder of one secret in memory: a folder for each version, a link to the one in force, and links through that to
//! each file, so that all values change in one step. The version before stays until the next one has come.
//!
//! Knows nothing of where values come from. Why links: it is how the kubelet does it, so whoever watches mounted files
//! watches these.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use cardea_contract::pod;
use cardea_secrets::Value;

/// What the folder of a version begins with; its number follows.
const VERSION: &str = "..v-";
/// A link on its way to its place.
const HALF: &str = "..half";
/// The kind of a file system in memory (TMPFS_MAGIC of linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// That a folder hands its group on to what is made in it.
const SETGID: u32 = 0o2000;

/// The folder of one secret.
pub(super) struct Folder {
    path: PathBuf,
    folder_mode: u32,
    file_mode: u32,
}

/// A value and its file below the folder of a version.
pub(super) struct Content<'a> {
    pub(super) path: &'a Path,
    pub(super) value: Value,
}

/// What became of values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// They lie there already.
    Already,
    /// They are in force, in place of others if there were some.
    New { rotated: bool },
}

impl Folder {
    /// Takes up the folder with what lies there, or makes it. Halves that an end left behind are removed.
    ///
    /// # Errors
    /// When it is not in memory, or cannot be made or read.
    pub(super) fn open(path: PathBuf, same_user: bool) -> Result<Self, NoFolder> {
        let (folder_mode, file_mode) = if same_user { (0o700, 0o400) } else { (0o750, 0o440) };
        let folder = Self { path, folder_mode, file_mode };
        let broken = |error| NoFolder::Broken { path: folder.path.clone(), error };
        match folder.make(&folder.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(broken(error)),
            _ => {}
        }
        let kind = rustix::fs::statfs(&folder.path).map_err(|error| broken(error.into()))?.f_type;
        if u64::try_from(kind) != Ok(TMPFS) {
            return Err(NoFolder::NotMemory(folder.path.clone()));
        }
        folder.tidy().map_err(broken)?;
        Ok(folder)
    }

    /// Whether a version with all of these files is in force, and if so, whether there was one before it.
    pub(super) fn in_force(&self, files: &[&Path]) -> Option<bool> {
        let current = self.current()?;
        let whole = files.iter().all(|file| self.version(current).join(file).is_file());
        whole.then(|| self.versions().is_ok_and(|versions| versions.iter().any(|version| *version < current)))
    }

    /// Puts these values in force, all in one step, unless they are already.
    ///
    /// # Errors
    /// When they cannot be written; those of before are in force then.
    pub(super) fn deliver(&self, contents: &[Content<'_>]) -> io::Result<Delivered> {
        let current = self.current();
        let delivered = match current {
            Some(current) if self.holds(current, contents) => Delivered::Already,
            _ => {
                let next = self.versions()?.last().map_or(1, |last| last + 1);
                let written = self.write(next, contents).and_then(|()| self.link(HALF.as_ref(), &name(next)));
                if let Err(error) = written.and_then(|()| self.rename(HALF, pod::SECRETS_IN_FORCE)) {
                    // Memory is short perhaps: what is of no use makes room.
                    let _ = fs::remove_dir_all(self.version(next));
                    return Err(error);
                }
                Delivered::New { rotated: current.is_some() }
            }
        };
        for Content { path, .. } in contents {
            // Those in folders of a version are not for everybody's eyes.
            if path.components().count() == 1 {
                self.ensure_link(path)?;
            }
        }
        self.tidy()?;
        Ok(delivered)
    }

    fn holds(&self, version: u64, contents: &[Content<'_>]) -> bool {
        contents.iter().all(|Content { path, value }| holds(&self.version(version).join(path), value))
    }

    fn write(&self, version: u64, contents: &[Content<'_>]) -> io::Result<()> {
        let folder = self.version(version);
        self.make(&folder)?;
        for Content { path, value } in contents {
            let file = folder.join(path);
            if let Some(parent) = file.parent().filter(|parent| !parent.exists()) {
                self.make(parent)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            file.write_all(value.expose())?;
            file.set_permissions(Permissions::from_mode(self.file_mode))?;
        }
        Ok(())
    }

    /// Makes a folder, whatever the umask is, of the group that its parent hands on.
    fn make(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(self.folder_mode).create(folder)?;
        let inherited = fs::metadata(folder)?.mode() & SETGID;
        fs::set_permissions(folder, Permissions::from_mode(self.folder_mode | inherited))
    }

    fn ensure_link(&self, file: &Path) -> io::Result<()> {
        let target = Path::new(pod::SECRETS_IN_FORCE).join(file);
        if fs::read_link(self.path.join(file)).is_ok_and(|found| found == target) {
            return Ok(());
        }
        self.link(HALF.as_ref(), &target)?;
        fs::rename(self.path.join(HALF), self.path.join(file))
    }

    fn link(&self, link: &Path, target: &Path) -> io::Result<()> {
        let link = self.path.join(link);
        remove_file(&link)?;
        symlink(target, link)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    /// Removes all versions but the one in force and the one before it.
    fn tidy(&self) -> io::Result<()> {
        remove_file(&self.path.join(HALF))?;
        let current = self.current();
        let versions = self.versions()?;
        let before = versions.iter().rev().find(|version| Some(**version) < current).copied();
        for version in versions.into_iter().filter(|version| Some(*version) != current && Some(*version) != before) {
            fs::remove_dir_all(self.version(version))?;
        }
        Ok(())
    }

    /// The version in force, if its folder is there.
    fn current(&self) -> Option<u64> {
        let target = fs::read_link(self.path.join(pod::SECRETS_IN_FORCE)).ok()?;
        number(target.to_str()?).filter(|version| self.version(*version).is_dir())
    }

    /// All versions that lie there, in order.
    fn versions(&self) -> io::Result<Vec<u64>> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            versions.extend(entry?.file_name().to_str().and_then(number));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    fn version(&self, version: u64) -> PathBuf {
        self.path.join(name(version))
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoFolder {
    #[error("{} is not in memory: mount a volume there whose medium is Memory, so that no value is written to a disk", .0.display())]
    NotMemory(PathBuf),
    #[error("{} cannot be made or read: {error}", .path.display())]
    Broken { path: PathBuf, error: io::Error },
}

fn name(version: u64) -> PathBuf {
    PathBuf::from(format!("{VERSION}{version}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(VERSION)?.parse().ok()
}

fn holds(file: &Path, value: &Value) -> bool {
    let length = value.expose().len();
    let Ok(file) = File::open(file) else { return false };
    if !file.metadata().is_ok_and(|found| found.is_file() && found.len() == length as u64) {
        return false;
    }
    // Never grown, so that no copy is left behind.
    let mut found = zeroize::Zeroizing::new(vec![0; length]);
    io::Read::read_exact(&mut &file, &mut found).is_ok() && found.as_slice() == value.expose()
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
