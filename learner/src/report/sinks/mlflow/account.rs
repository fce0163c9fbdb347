//! What became of everything that a run told its tracker.

use serde::Serialize;
use std::fmt::{self, Display};

/// Files that are told by their names where they are lost, so that this stays a line.
const NAMES_MAX: usize = 5;

/// Rows and files by what became of them, and where they are to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// The page of the run; nothing where the server never answered.
    pub page: Option<String>,
    /// Rows that the run told.
    #[serde(skip)]
    pub rows_told: u64,
    /// Rows that the server took.
    pub rows_sent: u64,
    /// Rows that it refused, that came while there was no more room to keep them, or that were left at the end.
    pub rows_lost: u64,
    /// Whether the server has the results.
    pub results_sent: bool,
    /// Files that it took.
    pub files_sent: Vec<String>,
    /// Files that it did not.
    pub files_lost: Vec<String>,
    /// Why the server does not know how the run ended, where it was to be told. The summary is written before.
    #[serde(skip)]
    pub end_lost: Option<String>,
    /// Requests that led to nothing; those that were made again count again.
    pub requests_failed: u64,
}

impl Delivered {
    /// Rows that are to be sent still.
    pub fn rows_waiting(&self) -> u64 {
        self.rows_told.saturating_sub(self.rows_sent + self.rows_lost)
    }

    /// Nothing is sent any more: what waits is lost, and so are these files unless they were sent.
    #[must_use]
    pub(super) fn closed(mut self, files: &[String]) -> Self {
        self.rows_lost += self.rows_waiting();
        for file in files {
            if !self.files_sent.contains(file) && !self.files_lost.contains(file) {
                self.files_lost.push(file.clone());
            }
        }
        self
    }

    /// What is lost, in words; nothing where all is there.
    pub fn loss(&self) -> Option<String> {
        let rows = (self.rows_lost > 0).then(|| format!("{} of {} rows", self.rows_lost, self.rows_told));
        let results = (!self.results_sent).then(|| "the results".to_owned());
        let named = self.files_lost.iter().take(NAMES_MAX).cloned();
        let more = self.files_lost.len().saturating_sub(NAMES_MAX);
        let more = (more > 0).then(|| format!("{more} more files"));
        let end = self.end_lost.as_ref().map(|reason| format!("how the run ended ({reason})"));
        let lost: Vec<_> = rows.into_iter().chain(results).chain(named).chain(more).chain(end).collect();
        (!lost.is_empty()).then(|| lost.join(", "))
    }
}

impl Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.page {
            Some(page) => write!(f, "{} rows at {page}", self.rows_sent)?,
            None => f.write_str("the server never answered")?,
        }
        match self.loss() {
            Some(loss) => write!(f, "; not there: {loss}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said() {
        let page = Some("http://tracker/#/x".to_owned());
        let all = Delivered { page, rows_told: 7, rows_sent: 7, results_sent: true, ..Delivered::default() };
        assert_eq!(all.clone().closed(&[]).to_string(), "7 rows at http://tracker/#/x");
        let some = Delivered { rows_sent: 4, rows_lost: 1, files_sent: vec!["a".into()], ..all };
        assert_eq!(some.rows_waiting(), 2);
        let told = some.closed(&["a".into(), "b".into()]).to_string();
        assert_eq!(told, "4 rows at http://tracker/#/x; not there: 3 of 7 rows, b");
        let none = Delivered { rows_told: 2, ..Delivered::default() }.closed(&["a".into()]).to_string();
        assert_eq!(none, "the server never answered; not there: 2 of 2 rows, the results, a");
    }
    #[test]
    fn of_many_lost_files_some_are_named_and_the_others_counted() {
        let lost = |count: usize| {
            let files_lost = (0..count).map(|number| format!("f{number}")).collect();
            Delivered { files_lost, results_sent: true, ..Delivered::default() }.loss()
        };
        assert_eq!(lost(0), None);
        assert_eq!(lost(5).unwrap(), "f0, f1, f2, f3, f4");
        assert_eq!(lost(300).unwrap(), "f0, f1, f2, f3, f4, 295 more files");
    }
}
