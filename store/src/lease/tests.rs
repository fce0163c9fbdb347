//! One store in memory, and processes that are several by their marks.

use super::*;
use crate::store::{Possession, Store, StoreError, TakeError};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

/// What one process sees of the store.
struct Bench {
    memory: Arc<InMemory>,
}

impl Bench {
    fn new() -> Self {
        Self { memory: Arc::new(InMemory::new()) }
    }

    async fn take(&self, owner: Option<&str>) -> Result<(Store, Possession), TakeError> {
        Store::bucket(self.memory.clone(), "runs/one", "s3://bucket/runs/one").take(owner, |_| {}).await
    }

    /// Makes the holder one of another machine, of which it cannot be known whether it has ended.
    async fn is_elsewhere(&self, store: &Store) {
        let lease = store.lease().unwrap();
        let mut newest = lease.newest.lock().await;
        newest.0.process.machine = Some("elsewhere".into());
        newest.0.process.mark = "another".into();
        let (record, version) = newest.clone();
        newest.1 = lease.object.write(&record, PutMode::Update(version)).await.unwrap();
    }
}

async fn write(store: &Store) -> Result<(), StoreError> {
    store.write("a", Bytes::from_static(b"bytes")).await
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_a_holder_that_lives_is_refused_and_told_by_whom() {
    let bench = Bench::new();
    let (store, _possession) = bench.take(Some("pod-0")).await.unwrap();
    bench.is_elsewhere(&store).await;
    let since = Instant::now();
    let refused = bench.take(Some("pod-1")).await.unwrap_err().to_string();
    assert!(refused.starts_with("s3://bucket/runs/one is in use by pod-0 (process "), "{refused}");
    assert!(seconds(since) <= 6.0, "{} s", seconds(since));
    write(&store).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_died_elsewhere_is_waited_for_and_its_successor_has_a_higher_number() {
    let bench = Bench::new();
    let (store, possession) = bench.take(None).await.unwrap();
    assert_eq!((store.epoch(), store.tenure().await.unwrap()), (Some(1), Some(Tenure::default())));
    store.begin(7).await.unwrap();
    assert_eq!(store.tenure().await.unwrap(), Some(Tenure { epoch: 1, begins_at: 7 }));
    bench.is_elsewhere(&store).await;
    drop(possession);
    let since = Instant::now();
    let (next, _possession) = bench.take(None).await.unwrap();
    assert!((20.0..22.0).contains(&seconds(since)), "{} s", seconds(since));
    assert_eq!(next.epoch(), Some(2));
    // It may be refused yet: until it begins, what the one before has written is what there is to go on from.
    assert_eq!(next.tenure().await.unwrap(), Some(Tenure { epoch: 1, begins_at: 7 }));
    next.begin(9).await.unwrap();
    assert_eq!(next.tenure().await.unwrap(), Some(Tenure { epoch: 2, begins_at: 9 }));
    // It was only slow.
    let lost = write(&store).await.unwrap_err().to_string();
    assert!(lost.contains("s3://bucket/runs/one was taken over by process "), "{lost}");
    assert_eq!(store.lost().await.to_string(), lost);
    assert!(!next.names().await.unwrap().contains(&"a".to_owned()));
    write(&next).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_of_the_same_name_takes_over_at_once_and_the_other_hears_of_it() {
    let bench = Bench::new();
    let (store, _possession) = bench.take(Some("pod-0")).await.unwrap();
    bench.is_elsewhere(&store).await;
    let since = Instant::now();
    let (next, _possession) = bench.take(Some("pod-0")).await.unwrap();
    assert_eq!(seconds(since), 0.0);
    let lost = store.lost().await;
    assert!(matches!(lost, StoreError::Lost { .. }) && seconds(since) <= 5.1, "{lost} after {} s", seconds(since));
    write(&next).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_that_has_given_it_up_or_has_ended_on_this_machine() {
    let bench = Bench::new();
    let (store, possession) = bench.take(None).await.unwrap();
    bench.is_elsewhere(&store).await;
    possession.release().await;
    let since = Instant::now();
    let (store, possession) = bench.take(None).await.unwrap();
    assert_eq!(seconds(since), 0.0);
    // There is a process of its number on this machine, which began at another time.
    let lease = store.lease().unwrap();
    let mut newest = lease.newest.lock().await;
    newest.0.process.began = newest.0.process.began.map(|began| began + 1);
    newest.1 = lease.object.write(&newest.0, PutMode::Update(newest.1.clone())).await.unwrap();
    drop((newest, possession));
    let (next, _possession) = bench.take(None).await.unwrap();
    assert_eq!((seconds(since), next.epoch()), (0.0, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_come_at_once_one_is_refused() {
    let bench = Bench::new();
    let [one, other] = [bench.take(None), bench.take(None)];
    let (one, other) = tokio::join!(one, other);
    let refused = [one.as_ref().err(), other.as_ref().err()].into_iter().flatten().collect::<Vec<_>>();
    assert!(matches!(refused[..], [TakeError::Held(_)]), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_got_lost_loses_nothing() {
    let bench = Bench::new();
    let (store, _possession) = bench.take(None).await.unwrap();
    let lease = store.lease().unwrap();
    let (record, version) = lease.newest.lock().await.clone();
    // A sign of life that the store has and whose version this process does not know.
    lease.object.write(&Record { signs_of_life: 99, ..record }, PutMode::Update(version)).await.unwrap();
    write(&store).await.unwrap();
    write(&store).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_was_stopped_before_it_wrote_writes_over_nothing() {
    let bench = Bench::new();
    let (store, _possession) = bench.take(Some("pod-0")).await.unwrap();
    bench.is_elsewhere(&store).await;
    let (lease, path) = (store.lease().unwrap(), Path::from("runs/one/best"));
    lease.write("best", &path, "one's".into()).await.unwrap();
    let (next, _possession) = bench.take(Some("pod-0")).await.unwrap();
    // An earlier process has written that, too.
    next.write("best", Bytes::from_static(b"its successor's")).await.unwrap();
    next.write("best", Bytes::from_static(b"its successor's second")).await.unwrap();
    // It had made sure before it was stopped, so it goes on with the write alone.
    let stale = lease.versions().get("best").cloned().unwrap();
    let late = bench.memory.put_opts(&path, "one's late".into(), PutMode::Update(stale).into()).await;
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    let lost = store.write("best", Bytes::from_static(b"one's late")).await.unwrap_err();
    assert!(matches!(lost, StoreError::Lost { .. }), "{lost}");
    assert_eq!(next.read("best").await.unwrap(), b"its successor's second");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_written_anew() {
    let bench = Bench::new();
    let (store, _possession) = bench.take(None).await.unwrap();
    bench.memory.delete(&Path::from("runs/one").join(NAME)).await.unwrap();
    write(&store).await.unwrap();
    assert!(store.names().await.unwrap().contains(&NAME.to_owned()));
    write(&store).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_is_named_with_what_to_do() {
    let bench = Bench::new();
    let store = Store::bucket(bench.memory.clone(), "runs/one", "s3://bucket/runs/one");
    write(&store).await.unwrap();
    store.write(NAME, Bytes::from_static(b"{\"epoch\": 1")).await.unwrap();
    for error in [bench.take(None).await.unwrap_err().to_string(), store.tenure().await.unwrap_err().to_string()] {
        assert!(
            error.starts_with("s3://bucket/runs/one/owner.json is damaged: ") && error.contains("remove it"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_store_without_conditional_writes_is_used_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    let store = Store::bucket(files, "one", "s3://old/one");
    let (store, possession) = store.take(None, |_| {}).await.unwrap();
    assert!(possession.doubt().unwrap().contains("no conditional writes"), "{:?}", possession.doubt());
    write(&store).await.unwrap();
}
