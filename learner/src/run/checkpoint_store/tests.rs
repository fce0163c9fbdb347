//! Both kinds of store, the object store in memory.

use super::*;
use crate::run::checkpoint::tests::checkpoint;

fn both(directory: &tempfile::TempDir) -> [CheckpointStore; 2] {
    [Store::directory(directory.path().join("checkpoints")), Store::in_memory()].map(CheckpointStore::new)
}

fn bytes(updates: u64) -> Bytes {
    checkpoint(updates, 9.0).encode().unwrap().into()
}

#[tokio::test]
async fn the_newest_sound_checkpoint_is_found_and_the_others_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for store in both(&directory) {
        assert_eq!(store.newest(&impala_env::builtin()).await.unwrap(), None);
        for updates in [2, 10, 9] {
            store.write(updates, bytes(updates)).await.unwrap();
        }
        assert_eq!(store.updates().await.unwrap(), [2, 9, 10]);
        let found = store.newest(&impala_env::builtin()).await.unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.checkpoint), ("update-000000000010.safetensors", checkpoint(10, 9.0)));

        store.write(10, bytes(10).slice(..1000)).await.unwrap();
        store.write(11, Bytes::new()).await.unwrap();
        store.store.write("notes.txt", Bytes::from_static(b"mine")).await.unwrap();
        let found = store.newest(&impala_env::builtin()).await.unwrap().unwrap();
        assert_eq!(found.checkpoint.progress.updates, 9);
        assert!(found.skipped[0].starts_with("update-000000000011.safetensors: it is damaged"), "{:?}", found.skipped);
        assert!(found.skipped[1].starts_with("update-000000000010.safetensors: it is damaged"), "{:?}", found.skipped);
        assert_eq!(found.skipped.len(), 2);

        store.remove(9).await.unwrap();
        store.remove(2).await.unwrap();
        let error = store.newest(&impala_env::builtin()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{store} has no usable checkpoint; update-000000000011")), "{error}");
        store.write_best(bytes(4)).await.unwrap();
        assert_eq!(store.newest(&impala_env::builtin()).await.unwrap().unwrap().name, "best.safetensors");
    }
}

#[tokio::test]
async fn what_a_process_wrote_after_another_one_had_taken_over_is_the_last_resort() {
    let store = CheckpointStore::new(Store::in_memory());
    let written = |updates, epoch| Bytes::from(Checkpoint { epoch, ..checkpoint(updates, 9.0) }.encode().unwrap());
    let newest = async || store.newest(&impala_env::builtin()).await.unwrap().unwrap();
    store.write(10, written(10, Some(1))).await.unwrap();
    let take = async || store.clone().take(Some("pod"), |_| {}).await.unwrap();
    let (earlier, _earlier) = take().await;
    earlier.begin(0).await.unwrap();
    let (next, _possession) = take().await;
    assert_eq!(next.epoch(), Some(2));
    // Written between two looks at whose the store is.
    store.write(30, written(30, Some(1))).await.unwrap();
    // Nobody has gone on without it yet.
    assert_eq!(newest().await.checkpoint.progress.updates, 30);
    next.begin(10).await.unwrap();
    let found = newest().await;
    assert_eq!(found.checkpoint.progress.updates, 10);
    assert!(found.skipped[0].contains("after another one had taken over"), "{:?}", found.skipped);
    store.write(20, written(20, Some(2))).await.unwrap();
    assert_eq!(newest().await.checkpoint.progress.updates, 20);
    // A release that knows nothing of it went on.
    store.write(40, written(40, None)).await.unwrap();
    assert_eq!(newest().await.checkpoint.progress.updates, 40);
    for updates in [10, 20, 40] {
        store.remove(updates).await.unwrap();
    }
    assert_eq!(newest().await.checkpoint.progress.updates, 30);
}

#[tokio::test]
async fn a_checkpoint_of_an_environment_that_is_not_registered_is_not_called_unusable() {
    let directory = tempfile::tempdir().unwrap();
    for store in both(&directory) {
        store.write(2, bytes(2)).await.unwrap();
        let error = store.newest(&Registry::new()).await.unwrap_err().to_string();
        let beginning = format!("{store}/update-000000000002.safetensors: its environment = cartpole-v1: unknown");
        assert!(error.starts_with(&beginning), "{error}");
        assert!(error.ends_with("resume it with the program that registers this environment"), "{error}");
    }
}

#[tokio::test]
async fn a_write_leaves_nothing_beside_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let [store, _] = both(&directory);
    store.write(1, bytes(1)).await.unwrap();
    store.write(1, bytes(1)).await.unwrap();
    let path = directory.path().join("checkpoints");
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["update-000000000001.safetensors"]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_read_is_passed_over_too() {
    let directory = tempfile::tempdir().unwrap();
    let [store, _] = both(&directory);
    store.write(1, bytes(1)).await.unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("checkpoints").join(name_of(2))).unwrap();
    let found = store.newest(&impala_env::builtin()).await.unwrap().unwrap();
    assert_eq!(found.checkpoint.progress.updates, 1);
    assert!(found.skipped[0].contains("cannot read"), "{:?}", found.skipped);
}

#[test]
fn a_location_that_is_none_is_named_with_its_setting() {
    let error = CheckpointStore::open(&"file://some/where".parse().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("checkpoint_store = file://some/where: write file:///"), "{error}");
}
