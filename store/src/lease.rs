//! A prefix of an object store in the hands of one process at a time: an object there says whose it is, and every write of its
//! holder first makes sure, on condition that nobody else has written that object, that it still is.
//!
//! Nobody's clock is compared with another's: who finds a holder watches for a while whether it shows a sign of life.

use crate::process::Process;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Name of the object.
pub(crate) const NAME: &str = "owner.json";
/// Time between two signs of life.
const RENEWED_EVERY: Duration = Duration::from_secs(5);
/// A holder that has given none for so long has lost its hold.
const LASTS: Duration = Duration::from_secs(20);
/// What is in doubt where a store refuses them.
const NO_CONDITIONS: &str = "it knows no conditional writes";
/// Times that an object is written anew which is not as it was known, while the prefix is still this process's.
const ATTEMPTS: u32 = 3;
/// Time between two looks at somebody else's.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The last process that has begun to work in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// Its number: each process that takes the store has a higher one.
    pub epoch: u64,
    /// Its mark of where it goes on from, for who comes later.
    pub begins_at: u64,
}

/// What stands in the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    epoch: u64,
    /// Of this process, or of one before as long as this one has not begun.
    tenure: Tenure,
    owner: Option<String>,
    process: Process,
    /// Counts up with every sign of life: two records of one process are never the same.
    signs_of_life: u64,
    is_released: bool,
}

/// Why a store cannot be taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Somebody else has it, who shows signs of life.
    Held(String),
    Unread(Unread),
}

/// Why it cannot be told whose a store is.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The object is not what this program writes.
    Damaged(String),
    /// The store cannot be reached or refuses.
    Store(Error),
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// A prefix that this process holds.
#[derive(Debug)]
pub(crate) struct Lease {
    object: Object,
    /// Locked while a sign of life is given: the next has to know its version.
    newest: tokio::sync::Mutex<(Record, UpdateVersion)>,
    epoch: u64,
    /// Who has taken it away.
    taken_by: Mutex<Option<String>>,
    /// Cancelled when it was taken away.
    lost: CancellationToken,
    /// Of objects that this process has written: what is written over them later is on condition that they still are as it left them.
    versions: Mutex<HashMap<String, UpdateVersion>>,
    /// Why two processes could hold it all the same.
    doubt: Option<String>,
}

#[derive(Clone, Debug)]
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

/// It was taken away, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenBy(pub(crate) String);

/// Why no sign of life was given.
#[derive(Debug)]
pub(crate) enum Silence {
    Taken(TakenBy),
    Store(Error),
}

impl Object {
    async fn read(&self) -> Result<Option<(Record, UpdateVersion)>, Unread> {
        let found = match self.store.get(&self.path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await?;
        let record = serde_json::from_slice(&bytes).map_err(|error| Unread::Damaged(error.to_string()))?;
        Ok(Some((record, version)))
    }

    async fn write(&self, record: &Record, mode: PutMode) -> Result<UpdateVersion, Error> {
        let bytes = serde_json::to_vec(record).expect("numbers and texts are JSON");
        Ok(self.store.put_opts(&self.path, PutPayload::from(bytes), mode.into()).await?.into())
    }

    /// Writes a record in place of this process's own, and tries what must fail then: it shows whether the store keeps to conditions.
    /// Gives the version that is there now, and what is in doubt.
    async fn proven(&self, record: &Record, first: UpdateVersion) -> Result<(UpdateVersion, Option<String>), Error> {
        let second = Record { signs_of_life: record.signs_of_life + 1, ..record.clone() };
        let second = match self.write(&second, PutMode::Update(first.clone())).await {
            Ok(version) => version,
            Err(Error::NotImplemented { .. }) => return Ok((first, Some(NO_CONDITIONS.into()))),
            Err(error) => return Err(error),
        };
        match self.write(record, PutMode::Update(first)).await {
            Err(Error::Precondition { .. }) => Ok((second, None)),
            Err(error) => Err(error),
            Ok(version) => Ok((version, Some("it does not keep to the conditions of writes".into()))),
        }
    }
}

/// Whether a write was refused for what is there.
fn is_condition(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. } | Error::NotFound { .. } | Error::AlreadyExists { .. })
}

/// Who has begun to work under `prefix` last.
pub(crate) async fn tenure(store: &Arc<dyn ObjectStore>, prefix: &Path) -> Result<Option<Tenure>, Unread> {
    let object = Object { store: store.clone(), path: prefix.clone().join(NAME) };
    let found = object.read().await?;
    Ok(found.map(|(record, _)| record.tenure))
}

impl Lease {
    /// Takes `prefix` of a store; `told` hears it if that takes a while. The lease is kept up by a task as long as what is returned
    /// beside it lives.
    pub(crate) async fn take(
        store: &Arc<dyn ObjectStore>,
        prefix: &Path,
        owner: Option<&str>,
        told: impl Fn(&str),
    ) -> Result<(Arc<Self>, DropGuard), Refusal> {
        let object = Object { store: store.clone(), path: prefix.clone().join(NAME) };
        let (record, version, doubt) = loop {
            let found = object.read().await?;
            let epoch = found.as_ref().map_or(0, |(record, _)| record.epoch) + 1;
            let record = Record {
                epoch,
                tenure: found.as_ref().map_or_else(Tenure::default, |(record, _)| record.tenure),
                owner: owner.map(str::to_owned),
                process: Process::this(),
                signs_of_life: 0,
                is_released: false,
            };
            let mode = match found {
                None => PutMode::Create,
                Some((other, version)) => {
                    if !other.is_free_for(owner) {
                        outlast(&object, &other, &version, &told).await?;
                    }
                    PutMode::Update(version)
                }
            };
            match object.write(&record, mode).await {
                Ok(version) => break (record, version, None),
                Err(Error::NotImplemented { .. }) => {
                    let version = object.write(&record, PutMode::Overwrite).await.map_err(Unread::Store)?;
                    break (record, version, Some(NO_CONDITIONS.to_owned()));
                }
                // Somebody was faster: it has a sign of life to show.
                Err(error) if is_condition(&error) => {}
                Err(error) => return Err(Unread::Store(error).into()),
            }
        };
        let (version, doubt) = match doubt {
            Some(doubt) => (version, Some(doubt)),
            None => object.proven(&record, version).await.map_err(Unread::Store)?,
        };
        let epoch = record.epoch;
        let newest = tokio::sync::Mutex::new((record, version));
        let (taken_by, lost) = (Mutex::default(), CancellationToken::new());
        let lease = Arc::new(Self { object, newest, epoch, taken_by, lost, versions: Mutex::default(), doubt });
        let stop = CancellationToken::new();
        let (kept, stopped) = (lease.clone(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(kept.keep_up()).await });
        Ok((lease, stop.drop_guard()))
    }

    /// Gives signs of life until it is lost.
    async fn keep_up(&self) {
        loop {
            tokio::time::sleep(RENEWED_EVERY).await;
            // A store that is out of reach for a while may be this process's all the same afterwards.
            if let Err(Silence::Taken(_)) = self.confirm().await {
                return;
            }
        }
    }

    /// Gives a sign of life: afterwards this process had the store a moment ago.
    pub(crate) async fn confirm(&self) -> Result<(), Silence> {
        self.renew(false).await
    }

    /// Writes an object there, as long as nobody else has the prefix: a process that was stopped after it made sure of that must not
    /// write over what its successor has written.
    pub(crate) async fn write(&self, name: &str, path: &Path, payload: PutPayload) -> Result<(), Silence> {
        self.confirm().await?;
        if self.doubt.is_some() {
            return self.object.store.put(path, payload).await.map(drop).map_err(Silence::Store);
        }
        let mut known = self.versions().get(name).cloned();
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let mode = known.map_or(PutMode::Create, PutMode::Update);
            match self.object.store.put_opts(path, payload.clone(), mode.into()).await {
                Ok(written) => {
                    self.versions().insert(name.to_owned(), written.into());
                    return Ok(());
                }
                Err(error) if !is_condition(&error) || attempts.next_back().is_none() => {
                    return Err(Silence::Store(error));
                }
                Err(_) => {}
            }
            // An earlier process of the run has written it, or another one has the prefix by now.
            self.confirm().await?;
            known = match self.object.store.head(path).await {
                Ok(there) => Some(UpdateVersion { e_tag: there.e_tag, version: there.version }),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(Silence::Store(error)),
            };
        }
    }

    /// An object is not there any more.
    pub(crate) fn forget(&self, name: &str) {
        self.versions().remove(name);
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<String, UpdateVersion>> {
        self.versions.lock().expect("no holder of versions panics")
    }

    /// Begins to work there, from this mark on: what processes before it write from now on is not what this one goes on from.
    pub(crate) async fn begin(&self, begins_at: u64) -> Result<(), Silence> {
        self.newest.lock().await.0.tenure = Tenure { epoch: self.epoch, begins_at };
        self.renew(false).await
    }

    /// Gives it up: whoever comes next need not wait.
    pub(crate) async fn release(&self) -> Result<(), Silence> {
        self.renew(true).await
    }

    async fn renew(&self, is_released: bool) -> Result<(), Silence> {
        let mut newest = self.newest.lock().await;
        if let Some(taken) = self.taken_by() {
            return Err(Silence::Taken(taken));
        }
        if self.doubt.is_some() {
            return Ok(());
        }
        let mut record = newest.0.clone();
        record.signs_of_life += 1;
        record.is_released = is_released;
        loop {
            let error = match self.object.write(&record, PutMode::Update(newest.1.clone())).await {
                Ok(version) => {
                    *newest = (record, version);
                    return Ok(());
                }
                Err(error) if is_condition(&error) => error,
                Err(error) => return Err(Silence::Store(error)),
            };
            match self.object.read().await {
                // An answer got lost, or came so late that the sign was given twice.
                Ok(Some((other, version))) if other.process == record.process && newest.1 != version => {
                    newest.1 = version;
                }
                // The store says what is not so.
                Ok(Some((other, _))) if other.process == record.process => return Err(Silence::Store(error)),
                Ok(Some((other, _))) => return Err(Silence::Taken(self.lose(other.holder()))),
                // Nobody has it: somebody removed the object, or the store lost it.
                Ok(None) => match self.object.write(&record, PutMode::Create).await {
                    Ok(version) => {
                        *newest = (record, version);
                        return Ok(());
                    }
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                    Err(error) => return Err(Silence::Store(error)),
                },
                Err(Unread::Store(error)) => return Err(Silence::Store(error)),
                Err(Unread::Damaged(_)) => return Err(Silence::Store(error)),
            }
        }
    }

    fn lose(&self, by: String) -> TakenBy {
        *self.taken_by.lock().expect("no holder of a name panics") = Some(by.clone());
        self.lost.cancel();
        TakenBy(by)
    }

    pub(crate) fn taken_by(&self) -> Option<TakenBy> {
        self.taken_by.lock().expect("no holder of a name panics").clone().map(TakenBy)
    }

    /// Cancelled when it was taken away.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }
}

impl Record {
    /// Whether it need not be watched for signs of life.
    fn is_free_for(&self, owner: Option<&str>) -> bool {
        let is_mine = owner.is_some() && self.owner.as_deref() == owner;
        self.is_released || is_mine || self.process.has_ended()
    }

    fn holder(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner} ({})", self.process),
            None => self.process.to_string(),
        }
    }
}

/// Waits until somebody else's hold is over.
async fn outlast(
    object: &Object,
    other: &Record,
    version: &UpdateVersion,
    told: &impl Fn(&str),
) -> Result<(), Refusal> {
    let holder = other.holder();
    told(&format!("it was in use by {holder}: watching up to {} s whether it still is", LASTS.as_secs()));
    let since = Instant::now();
    while since.elapsed() < LASTS {
        tokio::time::sleep(LOOK_EVERY).await;
        match object.read().await? {
            Some((record, _)) if record.process.has_ended() => return Ok(()),
            Some((record, seen)) if seen == *version && record == *other => {}
            Some((record, _)) if record.is_released => return Ok(()),
            Some((record, _)) => return Err(Refusal::Held(record.holder())),
            None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
