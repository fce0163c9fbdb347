//! An event file: under which name it lies in a run's directory, and events appended to it. Knows nothing of what the events tell.

use super::messages::{Event, FILE_VERSION, What};
use super::records;
use impala_common::process::surroundings;
use prost::Message;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// What every name begins with; then come the time in seconds, the machine, the process and a number.
const PREFIX: &str = "events.out.tfevents.";

/// Appends events, each whole: what a process that was killed leaves can be read.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
    /// Used again for the next events.
    bytes: Vec<u8>,
}

impl EventFile {
    /// Makes a new file beside those that earlier processes of the run left. TensorBoard reads the files of a directory in the order of
    /// their names, so it gets a later time than any of them, whatever the clock says.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let newest = std::fs::read_dir(directory)?.filter_map(|entry| time_of(entry.ok()?.file_name().to_str()?)).max();
        let time = newest.map_or(0, |newest| newest.saturating_add(1)).max(now() as u64);
        let host = surroundings::host();
        let host = match host.as_str() {
            "" => "localhost",
            host => host,
        };
        let path = directory.join(format!("{PREFIX}{time:010}.{host}.{}.0", std::process::id()));
        let file = File::options().write(true).create_new(true).open(path)?;
        let mut file = Self { file, bytes: Vec::new() };
        file.append([(0, What::FileVersion(FILE_VERSION.into()))])?;
        Ok(file)
    }

    /// Appends events of now, each at a step, in one write.
    ///
    /// # Errors
    /// They cannot be written, and a part of one may have been.
    pub(super) fn append(&mut self, events: impl IntoIterator<Item = (u64, What)>) -> io::Result<()> {
        self.bytes.clear();
        for (step, what) in events {
            let step = i64::try_from(step).unwrap_or(i64::MAX);
            let event = Event { wall_time: now(), step, what: Some(what) };
            records::append(&mut self.bytes, &event.encode_to_vec());
        }
        self.file.write_all(&self.bytes)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    surroundings::since_1970().as_secs_f64()
}

/// The time in the name of an event file.
fn time_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_has_a_later_name_whatever_the_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let names = || {
            let entries = std::fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        EventFile::create(directory.path()).unwrap();
        let first = names();
        EventFile::create(directory.path()).unwrap();
        assert_eq!(names()[0], first[0]);
        assert_eq!(time_of(&names()[1]).unwrap(), time_of(&first[0]).unwrap() + 1);
        std::fs::write(directory.path().join("events.out.tfevents.9999999998.far.1.0"), "").unwrap();
        EventFile::create(directory.path()).unwrap();
        assert!(names()[3].starts_with("events.out.tfevents.9999999999."), "{:?}", names());
    }
}
