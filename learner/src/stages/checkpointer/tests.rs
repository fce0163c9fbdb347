//! The writer as a thread, driven by one slot.

use super::*;
use crate::run::checkpoint::tests::{checkpoint, solved};
use crate::run::checkpoint_slot::CheckpointReport;
use impala_env::builtin;

/// Hands checkpoints to a new writer, one after the other; gives its report.
fn write(
    store: &CheckpointStore,
    kept_max: usize,
    resumed: Option<&Checkpoint>,
    checkpoints: impl IntoIterator<Item = Checkpoint>,
) -> CheckpointReport {
    write_after(store, kept_max, resumed, None, checkpoints)
}

/// The same where a verified policy waits to be written before them.
fn write_after(
    store: &CheckpointStore,
    kept_max: usize,
    resumed: Option<&Checkpoint>,
    verified: Option<Checkpoint>,
    checkpoints: impl IntoIterator<Item = Checkpoint>,
) -> CheckpointReport {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (slot, writer) = channel(store.clone(), kept_max, resumed);
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().spawn(move || writer.run(&handle)).unwrap();
    let report = slot.report();
    verified.into_iter().for_each(|verified| slot.keep(Box::new(verified)));
    checkpoints.into_iter().for_each(|checkpoint| runtime.block_on(slot.put(checkpoint)));
    drop(slot);
    thread.join().unwrap();
    let report = report.lock().unwrap();
    report.clone()
}

fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(directory: &std::path::Path, name: &str) -> Checkpoint {
    Checkpoint::decode(&std::fs::read(directory.join(name)).unwrap(), &builtin()).unwrap()
}

#[test]
fn the_newest_few_and_the_best_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::directory(directory.path());
    let means = [10.0, 30.0, 20.0, 25.0];
    let report = write(&store, 2, None, (1..).zip(means).map(|(update, mean)| checkpoint(update, mean)));
    assert_eq!(report, CheckpointReport { written: 4, newest: Some(4), ..CheckpointReport::default() });
    assert_eq!(files(directory.path()), ["best.safetensors".into(), name_of(3), name_of(4)]);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 2);
    let newest = read(directory.path(), &name_of(4));
    assert_eq!(newest.best_mean_return, Some(30.0));

    // A resumed run remembers what was best, and removes what the earlier process left.
    write(&store, 2, Some(&newest), [checkpoint(5, 28.0)]);
    assert_eq!(files(directory.path()), ["best.safetensors".into(), name_of(4), name_of(5)]);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 2);
    write(&store, 2, Some(&read(directory.path(), &name_of(5))), [checkpoint(6, 31.0)]);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 6);
}

#[test]
fn damaged_newer_checkpoints_neither_count_nor_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::directory(directory.path());
    write(&store, 2, None, [checkpoint(1, 5.0), checkpoint(2, 4.0)]);
    for update in [7, 8, 9] {
        std::fs::write(directory.path().join(name_of(update)), b"damaged").unwrap();
    }
    write(&store, 2, Some(&checkpoint(2, 4.0)), [checkpoint(3, 3.0)]);
    assert_eq!(files(directory.path())[1..], [2, 3, 7, 8, 9].map(name_of));
}

#[test]
fn what_cannot_be_written_is_counted_and_does_not_stop() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("checkpoints");
    std::fs::write(&blocked, b"a file in the way").unwrap();
    let store = CheckpointStore::directory(&blocked);
    let report = write(&store, 2, None, [checkpoint(1, 5.0), checkpoint(2, 4.0)]);
    assert_eq!((report.written, report.failed, report.newest), (0, 2, None));
    let text = report.to_string();
    assert!(
        text.contains("0 written, 2 FAILED, at last: cannot write") && text.contains("update-000000000002"),
        "{text}"
    );
}

#[test]
fn a_busy_writer_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (slot, writer) = channel(CheckpointStore::directory(directory.path()), 2, None);
    // Nobody runs the writer yet.
    slot.offer(|| unreachable!("nothing is copied for a busy writer"));
    let report = slot.report();
    drop(slot);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    writer.run(runtime.handle());
    assert_eq!(*report.lock().unwrap(), CheckpointReport { skipped: 1, ..CheckpointReport::default() });
}

#[tokio::test]
async fn the_last_checkpoint_waits_for_the_writer_and_can_be_given_up() {
    let directory = tempfile::tempdir().unwrap();
    // The writer does not run, as if its store did not answer.
    let (slot, _writer) = channel(CheckpointStore::directory(directory.path()), 2, None);
    let waiting = tokio::time::timeout(Duration::from_millis(20), slot.put(checkpoint(1, 5.0)));
    assert!(waiting.await.is_err());
}

#[test]
fn a_best_checkpoint_that_cannot_be_written_does_not_keep_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::directory(directory.path());
    let in_the_way = directory.path().join("best.safetensors");
    std::fs::create_dir_all(in_the_way.join("x")).unwrap();
    let report = write(&store, 2, None, (1..=4).map(|update| checkpoint(update, update as f32)));
    assert_eq!((report.written, report.failed, report.newest), (4, 4, Some(4)));
    assert_eq!(files(directory.path()), ["best.safetensors".into(), name_of(3), name_of(4)]);
    // No file tells of a best one that is not there.
    assert_eq!(read(directory.path(), &name_of(4)).best_mean_return, None);
}

#[test]
fn halves_that_a_killed_process_left_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["update-000000000007.tmp", "best.tmp", "mine.tmp"] {
        let half = std::fs::File::create_new(directory.path().join(name)).unwrap();
        half.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    write(&CheckpointStore::directory(directory.path()), 2, None, [checkpoint(1, 5.0)]);
    assert_eq!(files(directory.path()), ["best.safetensors".into(), "mine.tmp".into(), name_of(1)]);
}

#[test]
fn a_verified_policy_is_the_best_whatever_its_training_mean() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::directory(directory.path());
    write(&store, 2, None, [checkpoint(1, 499.0)]);
    write_after(&store, 2, Some(&read(directory.path(), &name_of(1))), Some(solved(2, 2)), [solved(3, 2)]);
    let best = read(directory.path(), "best.safetensors");
    assert_eq!((best.progress.updates, best.is_verified(), best.is_best_verified), (2, true, true));
    // Neither now nor by a process that goes on, also with another goal, is it replaced by an unverified one.
    let newest = read(directory.path(), &name_of(3));
    assert!(newest.is_best_verified);
    let report = write(&store, 2, Some(&newest), [checkpoint(4, 500.0), checkpoint(5, 500.0)]);
    assert_eq!(report.written, 2);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 2);
    assert!(read(directory.path(), &name_of(5)).is_best_verified);
    // By another verified one it is.
    write_after(&store, 2, Some(&newest), Some(solved(6, 6)), [solved(7, 6)]);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 6);
}

#[test]
fn a_verified_policy_that_cannot_be_written_is_tried_again_with_the_next_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("best.safetensors");
    std::fs::create_dir_all(in_the_way.join("x")).unwrap();
    let (slot, mut writer) = channel(CheckpointStore::directory(directory.path()), 3, None);
    slot.keep(Box::new(solved(2, 2)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(writer.write(solved(3, 2))).unwrap();
    assert!(!read(directory.path(), &name_of(3)).is_best_verified, "it would tell of a file that is not there");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    runtime.block_on(writer.write(solved(4, 2))).unwrap();
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 2);
    assert!(read(directory.path(), &name_of(4)).is_best_verified);
}

#[test]
fn a_run_that_branched_off_from_a_verified_policy_has_it_as_its_best() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::directory(directory.path());
    write(&store, 2, Some(&solved(2, 2)), [solved(3, 2)]);
    assert_eq!(read(directory.path(), "best.safetensors").progress.updates, 2);
}
