//! The rows of a resumed run that an earlier release wrote, with its columns: brought under today's header, so that the file has
//! one header and rows of one length.

use std::io;
use std::path::Path;

/// Makes sure that rows with these `columns` may be appended to the file, which may not be there.
///
/// A file with fewer columns, in whatever order, is written anew: what it does not know stays empty. One with columns that are
/// unknown here is set aside as `metrics.earlier.csv`.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn bring_under(columns: &[&str], path: &Path) -> csv::Result<()> {
    if std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0) {
        return Ok(());
    }
    // A process that was killed may have left a part of a row.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    let header = reader.headers()?.clone();
    if header.iter().eq(columns.iter().copied()) {
        return Ok(());
    }
    if !header.iter().all(|name| columns.contains(&name)) {
        return Ok(std::fs::rename(path, path.with_extension("earlier.csv"))?);
    }
    let places: Vec<_> = columns.iter().map(|column| header.iter().position(|name| name == *column)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    for row in reader.records() {
        let row = row?;
        writer.write_record(places.iter().map(|place| place.and_then(|place| row.get(place)).unwrap_or_default()))?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(impala_store::write_whole(path, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> (String, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        bring_under(&["seconds", "frames", "loss"], &path).unwrap();
        let left = std::fs::read_to_string(&path).unwrap_or_default();
        let aside = std::fs::read_to_string(directory.path().join("metrics.earlier.csv")).ok();
        (left, aside)
    }

    #[test]
    fn rows_of_an_earlier_release_get_todays_columns() {
        let same = "seconds,frames,loss\n1,80,0.5\n";
        assert_eq!(after(same), (same.into(), None));
        let fewer = after("frames,seconds\n80,1\n160,2\n24");
        assert_eq!(fewer, ("seconds,frames,loss\n1,80,\n2,160,\n,24,\n".into(), None));
        assert_eq!(after(""), (String::new(), None));
    }

    #[test]
    fn columns_that_nobody_knows_here_are_set_aside() {
        let later = "seconds,frames,loss,flux\n1,80,0.5,7\n";
        assert_eq!(after(later), (String::new(), Some(later.into())));
    }
}
