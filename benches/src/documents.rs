//! The tables of the manual that are written from the code, so that neither can say what the other does not.
//!
//! A document holds each between `<!-- generated: NAME -->` and `<!-- end -->`; what stands around them is written by hand.
//! `settings`, `metrics` and `tensorboard` make the tables. The program `documents` writes them into the files, a test of the `impala`
//! package (`cli/tests/documents.rs`) compares. It stands here because this crate may see learner and actor alike and is
//! in no image.

mod metrics;
mod settings;
mod tensorboard;

use anyhow::{Context, ensure};
use std::fmt::Write;
use std::path::Path;

/// The command that writes the tables anew.
pub const COMMAND: &str = "cargo run --release -p impala-benches --bin documents";

/// A table and the place where it stands.
struct Table {
    /// The name in the marker.
    name: &'static str,
    /// The document, from the project's root.
    document: &'static str,
    /// Makes the text between the markers.
    text: fn() -> String,
}

const TABLES: [Table; 9] = [
    Table { name: "settings", document: "docs/configuration.md", text: settings::of_the_learner },
    Table {
        name: "flags of train and learner",
        document: "docs/configuration.md",
        text: settings::flags_of_the_learner,
    },
    Table { name: "flags of an actor", document: "docs/configuration.md", text: settings::of_an_actor },
    Table { name: "learner metrics", document: "docs/metrics.md", text: metrics::of_the_learner },
    Table { name: "GPU metrics", document: "docs/metrics.md", text: metrics::of_gpus },
    Table { name: "actor metrics", document: "docs/metrics.md", text: metrics::of_an_actor },
    Table { name: "process metrics", document: "docs/metrics.md", text: metrics::of_a_process },
    Table { name: "scalars", document: "docs/how-to/tensorboard.md", text: tensorboard::scalars },
    Table { name: "histograms", document: "docs/how-to/tensorboard.md", text: tensorboard::histograms },
];

/// A document whose tables are not what the code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// The document, from the project's root.
    pub document: &'static str,
    /// Its text with the tables as they should be.
    pub text: String,
    /// The first line that differs, as it stands and as it should be.
    pub difference: (String, String),
}

/// The documents below `root`, the project's directory, whose tables are not what the code says.
///
/// # Errors
/// A document cannot be read, or lacks a marker.
pub fn outdated(root: &Path) -> anyhow::Result<Vec<Outdated>> {
    let mut documents: Vec<&str> = TABLES.iter().map(|table| table.document).collect();
    documents.dedup();
    let mut found = Vec::new();
    for document in documents {
        let path = root.join(document);
        let present = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut text = present.clone();
        for table in TABLES.iter().filter(|table| table.document == document) {
            text = replace(&text, table.name, &(table.text)()).with_context(|| document.to_owned())?;
        }
        if text != present {
            found.push(Outdated { document, difference: first_difference(&present, &text), text });
        }
    }
    Ok(found)
}

/// A document with what stands between the markers of `name` replaced by `table`.
fn replace(document: &str, name: &str, table: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end -->");
    let (before, rest) = document.split_once(&begin).with_context(|| format!("there is no line {}", begin.trim()))?;
    let (inside, after) = rest.split_once(end).with_context(|| format!("no {end} follows {}", begin.trim()))?;
    ensure!(!inside.contains("<!-- generated:"), "no {end} follows {}", begin.trim());
    Ok(format!("{before}{begin}\n{table}\n{end}{after}"))
}

/// The first line in which two texts differ.
fn first_difference(present: &str, wanted: &str) -> (String, String) {
    let (mut present, mut wanted) = (present.lines(), wanted.lines());
    loop {
        let (is, should_be) = (present.next(), wanted.next());
        if is != should_be || is.is_none() {
            return (is.unwrap_or("the end").to_owned(), should_be.unwrap_or("the end").to_owned());
        }
    }
}

/// A table in Markdown; a pipe inside a cell would end it and is escaped.
fn markdown<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let line = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header.map(str::to_owned));
    let _ = writeln!(text, "|{}", "---|".repeat(COLUMNS));
    text.extend(rows.into_iter().map(|row| line(row.map(|cell| cell.replace('|', "\\|")))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_between_its_markers_only() {
        let document =
            "before\n<!-- generated: a -->\nold\n<!-- end -->\nbetween\n<!-- generated: b -->\n<!-- end -->\n";
        let replaced = replace(document, "a", "| new |\n").unwrap();
        assert!(replaced.starts_with("before\n<!-- generated: a -->\n\n| new |\n\n<!-- end -->\nbetween\n"));
        assert!(replaced.ends_with("<!-- generated: b -->\n<!-- end -->\n"));
        assert_eq!(replace(&replaced, "a", "| new |\n").unwrap(), replaced);
    }

    #[test]
    fn a_missing_marker_is_named() {
        let error = |document: &str| replace(document, "a", "").unwrap_err().to_string();
        assert!(error("nothing").contains("no line <!-- generated: a -->"));
        assert!(error("<!-- generated: a -->\n").contains("no <!-- end --> follows"));
        assert!(
            error("<!-- generated: a -->\n<!-- generated: b -->\n<!-- end -->").contains("no <!-- end --> follows")
        );
    }

    #[test]
    fn cells_cannot_break_a_table() {
        assert_eq!(markdown(["x", "y"], [["a|b".into(), "c".into()]]), "| x | y |\n|---|---|\n| a\\|b | c |\n");
    }
}
