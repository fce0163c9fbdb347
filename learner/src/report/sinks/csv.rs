//! `metrics.csv`: one row a report interval; of long runs fewer.

mod earlier;

use crate::report::row::Row;
use std::fs::File;
use std::path::Path;

/// Appends rows to the file.
#[derive(Debug)]
pub struct MetricsCsv {
    writer: csv::Writer<File>,
}

impl MetricsCsv {
    /// Creates the file, or appends to the rows that the earlier processes of a run wrote, perhaps of an earlier release with fewer
    /// columns, up to the frames that it is resumed from: what came after them is trained again.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, resumed_from: Option<u64>) -> csv::Result<Self> {
        let resumes = resumed_from.is_some();
        if let Some(frames) = resumed_from {
            earlier::bring_under(&columns()?.iter().collect::<Vec<_>>(), path, frames)?;
        }
        let mut options = File::options();
        let file = options.create(true).write(true).append(resumes).truncate(!resumes).open(path)?;
        let has_header = file.metadata()?.len() > 0;
        Ok(Self { writer: csv::WriterBuilder::new().has_headers(!has_header).from_writer(file) })
    }

    /// Writes one row and flushes it, so that a reader sees it at once.
    ///
    /// # Errors
    /// The row cannot be written.
    pub(crate) fn append(&mut self, row: &Row) -> csv::Result<()> {
        self.writer.serialize(row)?;
        self.writer.flush()?;
        Ok(())
    }
}

/// The header.
fn columns() -> csv::Result<csv::StringRecord> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(Row::default())?;
    let bytes = writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(csv::Reader::from_reader(&bytes[..]).headers()?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_an_earlier_release_goes_on_in_one_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        std::fs::write(&path, "seconds,frames\n1.5,80\n").unwrap();
        let mut csv = MetricsCsv::open(&path, Some(80)).unwrap();
        csv.append(&Row { frames: 160, effective_samples: 0.75, ..Row::default() }).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let place = reader.headers().unwrap().iter().position(|name| name == "effective_samples").unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let told: Vec<_> = rows.iter().map(|row| (&row[1], &row[place])).collect();
        assert_eq!(told, [("80", ""), ("160", "0.75")]);
        assert_eq!(columns().unwrap().len(), rows[1].len());
    }
}
