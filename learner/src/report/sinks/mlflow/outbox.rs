//! What a run has told and the server has not got yet: bounded, and put in by the reports without ever waiting.

use super::account::Delivered;
use super::api::batch::Metric;
use crate::report::row::Row;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Rows that wait at most, of 384 bytes. At one each 0.2 s they are those of 54 minutes; after 2,000 s rows are further apart, and these are
/// those of four times the time so far.
pub(super) const ROWS_MAX: usize = 1 << 14;
/// Longest pause between two tries once the run is over: there are seconds left.
const LAST_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A row and when it was told, milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) timestamp: i64,
    pub(super) row: Row,
}

/// What is sent after the last row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conclusion {
    pub(super) results: Vec<Metric>,
    pub(super) files: Vec<PathBuf>,
}

/// Between the reports and the thread that sends.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Rows that one request carries.
    at_once: usize,
    rows_max: usize,
    has_enough: Notify,
    #[cfg(test)]
    noted: Notify,
    is_over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    rows: VecDeque<Told>,
    conclusion: Option<Conclusion>,
    account: Delivered,
}

impl Outbox {
    /// An empty one; `at_once` rows are worth a request of their own.
    pub(super) fn new(at_once: usize, rows_max: usize) -> Self {
        let (has_enough, is_over) = (Notify::new(), CancellationToken::new());
        Self {
            state: Mutex::default(),
            at_once,
            rows_max,
            has_enough,
            #[cfg(test)]
            noted: Notify::new(),
            is_over,
        }
    }

    /// Puts a row in. Where there is no room, every second one of those that wait is lost: the newest stay, and the older a gap is, the
    /// coarser it becomes.
    pub(super) fn put(&self, told: Told) {
        if self.is_over.is_cancelled() {
            return;
        }
        let mut state = self.lock();
        if state.rows.len() >= self.rows_max {
            let before = state.rows.len();
            // So that the last one is kept.
            let mut keeps = before.is_multiple_of(2);
            state.rows.retain(|_| {
                keeps = !keeps;
                keeps
            });
            state.account.rows_lost += (before - state.rows.len()) as u64;
        }
        state.rows.push_back(told);
        state.account.rows_told += 1;
        if state.rows.len() >= self.at_once {
            self.has_enough.notify_one();
        }
    }

    /// No row comes any more, but this.
    pub(super) fn conclude(&self, conclusion: Conclusion) {
        self.lock().conclusion = Some(conclusion);
        self.is_over.cancel();
    }

    /// Waits until there are enough rows for a request, this time is over, or the run is.
    pub(super) async fn gather(&self, time: Duration) {
        let enough = async {
            while self.lock().rows.len() < self.at_once {
                self.has_enough.notified().await;
            }
        };
        tokio::select! {
            () = enough => {}
            () = sleep(time) => {}
            () = self.is_over.cancelled() => {}
        }
    }

    /// Takes the oldest rows out, as many as a request carries.
    pub(super) fn take(&self) -> Vec<Told> {
        let mut state = self.lock();
        let count = state.rows.len().min(self.at_once);
        state.rows.drain(..count).collect()
    }

    /// Takes what follows the last row, once the run is over.
    pub(super) fn take_conclusion(&self) -> Option<Conclusion> {
        self.lock().conclusion.take()
    }

    /// Whether no row comes any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.is_cancelled()
    }

    /// Waits so long, and no longer than the run goes on; after its end for a moment.
    pub(super) async fn pause(&self, time: Duration) {
        if self.is_over() {
            return sleep(time.min(LAST_PAUSE_MAX)).await;
        }
        tokio::select! {
            () = sleep(time) => {}
            () = self.is_over.cancelled() => {}
        }
    }

    /// Looks at what became of everything so far.
    pub(super) fn read(&self, look: impl FnOnce(&Delivered)) {
        look(&self.lock().account);
    }

    /// Notes what became of something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Delivered)) {
        change(&mut self.lock().account);
        #[cfg(test)]
        self.noted.notify_waiters();
    }

    /// Waits until what was noted is so.
    #[cfg(test)]
    pub(super) async fn until(&self, is_so: impl Fn(&Delivered) -> bool) {
        loop {
            let noted = self.noted.notified();
            if is_so(&self.lock().account) {
                return;
            }
            noted.await;
        }
    }

    /// Whether the server has a file of this name.
    pub(super) fn has_sent(&self, file: &str) -> bool {
        self.lock().account.files_sent.iter().any(|sent| sent == file)
    }

    /// Rows that are to be sent still.
    pub(super) fn rows_waiting(&self) -> u64 {
        self.lock().account.rows_waiting()
    }

    /// What became of everything.
    pub(super) fn account(&self) -> Delivered {
        self.lock().account.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the outbox panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: u64) -> Told {
        Told { timestamp: 0, row: Row { frames: number, ..Row::default() } }
    }

    fn frames(rows: &[Told]) -> Vec<u64> {
        rows.iter().map(|told| told.row.frames).collect()
    }

    #[test]
    fn where_there_is_no_room_older_rows_become_coarser_and_the_newest_stays() {
        let outbox = Outbox::new(100, 8);
        (0..8).for_each(|number| outbox.put(told(number)));
        assert_eq!(outbox.account().rows_lost, 0);
        (8..17).for_each(|number| outbox.put(told(number)));
        let account = outbox.account();
        assert_eq!((account.rows_told, account.rows_lost, account.rows_waiting()), (17, 12, 5));
        assert_eq!(frames(&outbox.take()), [7, 11, 13, 15, 16]);
    }

    #[test]
    fn rows_come_out_in_their_order_as_many_as_a_request_carries() {
        let outbox = Outbox::new(2, 8);
        (0..3).for_each(|number| outbox.put(told(number)));
        assert_eq!(frames(&outbox.take()), [0, 1]);
        assert_eq!(frames(&outbox.take()), [2]);
        assert_eq!(outbox.take(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_are_gathered_for_a_while_unless_there_are_enough() {
        let outbox = Outbox::new(2, 8);
        let (start, long) = (tokio::time::Instant::now(), Duration::from_secs(2));
        outbox.put(told(0));
        outbox.gather(long).await;
        assert_eq!(start.elapsed(), long);
        outbox.put(told(1));
        outbox.gather(long).await;
        outbox.take();
        outbox.conclude(Conclusion::default());
        outbox.gather(long).await;
        outbox.pause(Duration::from_secs(60)).await;
        assert_eq!(start.elapsed(), long + LAST_PAUSE_MAX);
        // What comes after the end is no part of the run.
        outbox.put(told(2));
        assert_eq!((outbox.take(), outbox.account().rows_told), (vec![], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_ends_a_pause() {
        let outbox = Outbox::new(2, 8);
        let start = tokio::time::Instant::now();
        tokio::join!(outbox.pause(Duration::from_secs(60)), async {
            sleep(Duration::from_secs(1)).await;
            outbox.conclude(Conclusion::default());
        });
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
