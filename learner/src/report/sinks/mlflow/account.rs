//! What became of everything that a run told its tracker.

use serde::Serialize;
use std::fmt::{self, Display};

/// Rows and files by what became of them, and where they are to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
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
    /// Requests that led to nothing; those that were made again count again.
    pub requests_failed: u64,
}

impl Account {
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
        let lost: Vec<_> = rows.into_iter().chain(results).chain(self.files_lost.iter().cloned()).collect();
        (!lost.is_empty()).then(|| lost.join(", "))
    }
}

impl Display for Account {
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
        let all = Account { page, rows_told: 7, rows_sent: 7, results_sent: true, ..Account::default() };
        assert_eq!(all.clone().closed(&[]).to_string(), "7 rows at http://tracker/#/x");
        let some = Account { rows_sent: 4, rows_lost: 1, files_sent: vec!["a".into()], ..all };
        assert_eq!(some.rows_waiting(), 2);
        let told = some.closed(&["a".into(), "b".into()]).to_string();
        assert_eq!(told, "4 rows at http://tracker/#/x; not there: 3 of 7 rows, b");
        let none = Account { rows_told: 2, ..Account::default() }.closed(&["a".into()]).to_string();
        assert_eq!(none, "the server never answered; not there: 2 of 2 rows, the results, a");
    }
}
