//! The rows of a resumed run that its earlier processes wrote, perhaps of an earlier release with its columns: brought under today's
//! header and cut back to where the run goes on, so that the file has one header, rows of one length, and frames that only grow.

use std::io;
use std::path::{Path, PathBuf};

/// Makes sure that rows with these `columns` may be appended to the file, which may not be there.
///
/// Rows of more than `frames`, and a part of one that a killed process left, are dropped. A file with fewer columns, in whatever
/// order, is written anew: what it does not know stays empty. One with columns that are unknown here is set aside as
/// `metrics.earlier.csv`, or with a number where there is such a file.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn bring_under(columns: &[&str], path: &Path, frames: u64) -> csv::Result<()> {
    if std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0) {
        return Ok(());
    }
    let text = std::fs::read(path)?;
    // What follows the last line's end is a part of a row, which may look like a whole one.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&text[..whole]);
    let header = reader.headers()?.clone();
    if !header.iter().all(|name| columns.contains(&name)) {
        return Ok(std::fs::rename(path, unused(path))?);
    }
    let places: Vec<_> = columns.iter().map(|column| header.iter().position(|name| name == *column)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    let place_of_frames = header.iter().position(|name| name == "frames");
    let frames_of = |row: &csv::StringRecord| row.get(place_of_frames?)?.parse::<u64>().ok();
    for row in reader.records() {
        let row = row?;
        if row.len() != header.len() || frames_of(&row).is_none_or(|of_row| of_row > frames) {
            continue;
        }
        writer.write_record(places.iter().map(|place| place.and_then(|place| row.get(place)).unwrap_or_default()))?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    match bytes == text {
        true => Ok(()),
        false => Ok(impala_store::write_whole(path, bytes)?),
    }
}

/// A name for a file that is set aside, which no other has.
fn unused(path: &Path) -> PathBuf {
    let numbered = (2_u32..).map(|number| path.with_extension(format!("earlier-{number}.csv")));
    let mut names = std::iter::once(path.with_extension("earlier.csv")).chain(numbered);
    names.find(|name| !name.exists()).expect("there are more numbers than files")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> (String, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        bring_under(&["seconds", "frames", "loss"], &path, 200).unwrap();
        let left = std::fs::read_to_string(&path).unwrap_or_default();
        let aside = std::fs::read_to_string(directory.path().join("metrics.earlier.csv")).ok();
        (left, aside)
    }

    #[test]
    fn rows_of_an_earlier_release_get_todays_columns() {
        let same = "seconds,frames,loss\n1,80,0.5\n";
        assert_eq!(after(same), (same.into(), None));
        let fewer = after("frames,seconds\n80,1\n160,2\n24");
        assert_eq!(fewer, ("seconds,frames,loss\n1,80,\n2,160,\n".into(), None));
        assert_eq!(after(""), (String::new(), None));
    }

    #[test]
    fn rows_after_the_frames_that_a_run_goes_on_from_and_parts_of_rows_are_dropped() {
        let after =
            |rows: &str| after(&format!("seconds,frames,loss\n{rows}")).0.split_once('\n').unwrap().1.to_owned();
        assert_eq!(after("1,80,0.5\n2,200,0.4\n3,280,0.3\n"), "1,80,0.5\n2,200,0.4\n");
        assert_eq!(after("1,80,0.5\n2,16"), "1,80,0.5\n");
        // Cut within the last number: it reads as a row, but as another one.
        assert_eq!(after("1,80,0.5\n2,160,0.4"), "1,80,0.5\n");
        assert_eq!(after("1,80,0.5\n2,16\n3,170,0.3,9,9\n4,180,0.1\n"), "1,80,0.5\n4,180,0.1\n");
    }

    #[test]
    fn what_was_set_aside_before_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        for flux in ["1", "2", "3"] {
            std::fs::write(&path, format!("frames,flux\n80,{flux}\n")).unwrap();
            bring_under(&["frames"], &path, 200).unwrap();
        }
        let aside = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let told = ["metrics.earlier.csv", "metrics.earlier-2.csv", "metrics.earlier-3.csv"].map(aside);
        assert_eq!(told, ["1", "2", "3"].map(|flux| format!("frames,flux\n80,{flux}\n")));
    }

    #[test]
    fn columns_that_nobody_knows_here_are_set_aside() {
        let later = "seconds,frames,loss,flux\n1,80,0.5,7\n";
        assert_eq!(after(later), (String::new(), Some(later.into())));
    }
}
