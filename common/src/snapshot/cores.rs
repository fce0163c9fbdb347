//! One piece of work cut into items that share the cores for as long as it takes.
//!
//! Threads of their own for a moment, not a pool: only networks of more than one chunk come here, whose milliseconds the
//! some 50 microseconds of starting a thread don't matter to, and a pool would be linked into the actor for this alone. What
//! comes out doesn't depend on how many threads there were.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

/// Most threads of one piece of work: many actors may share a machine, and more than these are limited by its memory.
const THREADS_MAX: usize = 4;

/// Cores that this process may use; looked up once, since that reads files of the system.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Does `work` with every item and gives the results in the order of the items. A single item stays in the calling thread.
pub(super) fn share<T: Send, R: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let helpers = items.len().min(THREADS_MAX).min(*CORES).saturating_sub(1);
    if helpers == 0 {
        return items.map(work).collect();
    }
    let queue = Mutex::new(items.enumerate());
    // A panic is handed on by the scope; until then the other threads may go on with the queue.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || std::iter::from_fn(next).map(|(index, item)| (index, work(item))).collect::<Vec<_>>();
    let mut done = thread::scope(|scope| {
        let helper = |_| thread::Builder::new().name("codec".into()).spawn_scoped(scope, worker).ok();
        // Where no thread is to be had, the others do its share.
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let mut done = worker();
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, 2, 1000] {
            let expected: Vec<usize> = (0..count).map(|i| i * i).collect();
            assert_eq!(share(0..count, |i| i * i), expected);
        }
    }
}
