//! Where a run's checkpoints lie, if not in its directory: a file there that says so, whatever directory later processes work in
//! and wherever the run is moved to.

use impala_store::{StoreLocation, write_whole};
use std::io;
use std::path::Path;

/// Name of the file.
pub(crate) const NAME: &str = "checkpoint_store";

/// Writes down where the checkpoints of the run in `run_dir` lie.
///
/// # Errors
/// The file cannot be written, and does not say the same already.
pub(super) fn write(run_dir: &Path, location: &StoreLocation) -> io::Result<()> {
    let location = lasting(location.as_str(), run_dir)?;
    let file = run_dir.join(NAME);
    let written = write_whole(&file, format!("{location}\n"));
    // On a full or read-only disk a run that goes on has it from before.
    if written.is_err() && std::fs::read_to_string(&file).is_ok_and(|text| text.strip_suffix('\n') == Some(&location)) {
        return Ok(());
    }
    written
}

/// What the file in `run_dir` says; nothing without one.
pub(super) fn read(run_dir: &Path) -> Option<StoreLocation> {
    let text = std::fs::read_to_string(run_dir.join(NAME)).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let is_inside = !text.contains("://") && Path::new(text).is_relative();
    let text = if is_inside { run_dir.join(text).to_str()?.to_owned() } else { text.to_owned() };
    text.parse().ok()
}

/// A location that means the same in other working directories: a path becomes absolute, or if it lies in the run's directory,
/// relative to that.
fn lasting(location: &str, run_dir: &Path) -> io::Result<String> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let (path, run_dir) = (std::path::absolute(location)?, std::path::absolute(run_dir)?);
    Ok(path.strip_prefix(run_dir).unwrap_or(&path).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_lasts() {
        let directory = tempfile::tempdir().unwrap();
        let told = |location: &str| {
            write(directory.path(), &location.parse().unwrap()).unwrap();
            String::from(read(directory.path()).unwrap())
        };
        let here = std::env::current_dir().unwrap();
        assert_eq!(told("ck"), here.join("ck").to_str().unwrap());
        for odd in ["/somewhere/ck", "/somewhere/ck ", "/some\nwhere"] {
            assert_eq!(told(odd), odd);
        }
        assert_eq!(told("s3://bucket/x"), "s3://bucket/x");
        let inside = directory.path().join("mine");
        assert_eq!(told(inside.to_str().unwrap()), inside.to_str().unwrap());
        // It moves with the run.
        assert_eq!(std::fs::read_to_string(directory.path().join(NAME)).unwrap(), "mine\n");
        assert_eq!(read(&directory.path().join("none")), None);
    }
}
