//! Files as the command line reads and writes them: bounded and atomic.
//!
//! Owns the size limits and the temp-and-rename dance, so that no command leaves
//! half a file behind or replaces one that nobody asked it to replace.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::Builder;

use crate::error::{CliError, Exit};

/// Largest model, receipt, checkpoint or table that is read. The largest legal
/// model is far smaller; the limit is there for `--model /dev/zero`.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// What to do when the file is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Keep,
    /// Put the new one in its place in one step.
    Replace,
}

impl Existing {
    /// What `--force` says.
    pub const fn when_forced(force: bool) -> Self {
        if force { Self::Replace } else { Self::Keep }
    }
}

/// Reads a whole file; `what` names its meaning, such as `model file`.
///
/// # Errors
/// Says what could not be read and why, with the hint that `hint` gives for a
/// file that is not there.
pub fn read(path: &Path, what: &str, hint: &str) -> Result<Vec<u8>, CliError> {
    let doing = || format!("read {what} {}", path.display());
    let fail = |error: &io::Error| {
        let failure = CliError::io(doing(), error);
        match error.kind() {
            io::ErrorKind::NotFound => failure.hint(hint),
            io::ErrorKind::IsADirectory => failure.hint("name the file in it"),
            io::ErrorKind::PermissionDenied => {
                failure.hint(format!("check the rights with `ls -l {}`", path.display()))
            }
            _ => failure,
        }
    };
    let file = File::open(path).map_err(|error| fail(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CliError::failed(format!(
            "cannot {}: it is larger than {} MiB",
            doing(),
            FILE_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

/// Writes a whole file so that a reader sees either nothing, the old or the new
/// one: into a temporary file beside it, to the disk, then renamed.
///
/// # Errors
/// Says what could not be written and why.
pub fn write(path: &Path, what: &str, bytes: &[u8], existing: Existing) -> Result<(), CliError> {
    let doing = || format!("write {what} {}", path.display());
    let fail = |error: &io::Error| CliError::io(doing(), error);
    let mut file = Builder::new()
        .prefix(".hasher-")
        // The usual rights; the umask takes its share.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(directory_of(path))
        .map_err(|error| {
            let failure = fail(&error);
            match error.kind() {
                io::ErrorKind::NotFound => failure.hint("create the directory first"),
                _ => failure,
            }
        })?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| fail(&error))?;
    match existing {
        Existing::Replace => file.persist(path).map_err(|error| fail(&error.error))?,
        Existing::Keep => file.persist_noclobber(path).map_err(|error| {
            if error.error.kind() == io::ErrorKind::AlreadyExists {
                already_there(path, what)
            } else {
                fail(&error.error)
            }
        })?,
    };
    Ok(())
}

/// Refuses early what [`write()`] with [`Existing::Keep`] would refuse after all
/// the work.
///
/// # Errors
/// When the file is there, or its directory is not.
pub fn check_target(path: &Path, what: &str, existing: Existing) -> Result<(), CliError> {
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(already_there(path, what));
    }
    let directory = directory_of(path);
    if !directory.is_dir() {
        return Err(CliError::new(
            Exit::Failed,
            format!(
                "cannot write {what} {}: {} is not a directory",
                path.display(),
                directory.display()
            ),
        )
        .hint("create the directory first"));
    }
    Ok(())
}

fn already_there(path: &Path, what: &str) -> CliError {
    CliError::failed(format!(
        "cannot write {what} {}: the file exists",
        path.display()
    ))
    .hint("choose another name, or replace it with --force")
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.hsh");
        write(&path, "model", b"old", Existing::Keep).unwrap();
        let error = write(&path, "model", b"new", Existing::Keep).unwrap_err();
        assert!(error.message.contains("the file exists"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(check_target(&path, "model", Existing::Keep).is_err());
        write(&path, "model", b"new", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn nothing_but_the_file_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, "table", b"1", Existing::Keep).unwrap();
        let _ = write(&path, "table", b"2", Existing::Keep);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_named_with_its_remedy() {
        let error = read(Path::new("/nonexistent/x"), "model file", "train one").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error: cannot read model file /nonexistent/x: no such file or directory\n  \
             hint: train one"
        );
    }
}
