//! A prefix of an object store. An object appears whole or not at all.

use super::{StoreError, TakeError};
use crate::hold::Held;
use crate::lease::{self, Lease, Refusal, Silence, TakenBy, Tenure, Unread};
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt;
use tokio_util::sync::DropGuard;
use url::Url;

/// Largest object that is written by one request, and largest part of a larger one, bytes: at 280 KB a second it is there in time.
const PART: usize = 16 << 20;
/// Longest time for one request, its transfer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time in which a failed request is tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// An object store and a prefix in it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For messages.
    location: String,
    /// Where this process has taken it: then it is written to as long as nobody else has.
    lease: Option<Arc<Lease>>,
}

impl Bucket {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path, location: &str) -> Self {
        Self { store, prefix, location: location.trim_end_matches('/').to_owned(), lease: None }
    }

    /// The store of a URL; credentials, region and endpoint come from the provider's environment variables.
    pub(super) fn open(url: &Url) -> object_store::Result<Self> {
        // The first of a process wins; another one that a test installed does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (scheme, prefix) = ObjectStoreScheme::parse(url)?;
        let retry = RetryConfig { max_retries: 5, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                Arc::new(builder.with_client_options(client_options("GOOGLE")).build()?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                Arc::new(builder.with_client_options(client_options("AZURE")).build()?)
            }
            _ => {
                let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
                Arc::new(builder.with_client_options(client_options("AWS")).build()?)
            }
        };
        Ok(Self::new(store, Path::parse(prefix)?, url.as_str()))
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, StoreError> {
        let error = |error: object_store::Error| {
            let (action, object, reason) = ("list", self.location.clone(), chain(&error));
            StoreError::Object { action, object, reason }
        };
        let (mut objects, mut names) = (self.store.list(Some(&self.prefix)), Vec::new());
        while let Some(object) = objects.next().await {
            let Some(mut below) = object
                .map_err(error)?
                .location
                .prefix_match(&self.prefix)
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>())
            else {
                continue;
            };
            // What lies deeper is another run's.
            if below.len() == 1 {
                names.append(&mut below);
            }
        }
        Ok(names)
    }

    pub(super) async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let object = self.store.get(&self.path(name)).await.map_err(self.error("read", name))?;
        Ok(object.bytes().await.map_err(self.error("read", name))?.into())
    }

    pub(super) async fn write(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path(name);
        if bytes.len() > PART {
            self.confirm().await?;
            return self.write_in_parts(&path, &bytes).await.map_err(self.error("write", name));
        }
        let payload = PutPayload::from(bytes);
        match &self.lease {
            None => self.store.put(&path, payload).await.map(drop).map_err(self.error("write", name)),
            Some(lease) => lease.write(name, &path, payload).await.map_err(|silence| self.silent(silence, name)),
        }
    }

    /// Each part has a request of its own, with its own time. The object is there when all are.
    async fn write_in_parts(&self, path: &Path, bytes: &Bytes) -> object_store::Result<()> {
        let mut upload = self.store.put_multipart(path).await?;
        for from in (0..bytes.len()).step_by(PART) {
            let part = bytes.slice(from..bytes.len().min(from + PART));
            if let Err(error) = upload.put_part(PutPayload::from(part)).await {
                // What is left over, the store's own rules clear up.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.complete().await.map(drop)
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.confirm().await?;
        self.lease.iter().for_each(|lease| lease.forget(name));
        self.store.delete(&self.path(name)).await.map_err(self.error("remove", name))
    }

    /// Takes the prefix; see [`Lease::take`].
    pub(super) async fn take(&self, owner: Option<&str>, told: impl Fn(&str)) -> Result<(Self, DropGuard), TakeError> {
        let told = |text: &str| told(&format!("{}: {text}", self.location));
        let taken = Lease::take(&self.store, &self.prefix, owner, told).await;
        let (lease, kept_up) = taken.map_err(|refusal| self.refused(refusal))?;
        Ok((Self { lease: Some(lease), ..self.clone() }, kept_up))
    }

    /// Makes sure that the prefix is this process's, where it was taken.
    async fn confirm(&self) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        lease.confirm().await.map_err(|silence| self.silent(silence, lease::NAME))
    }

    /// Begins to work there; see [`Lease::begin`].
    pub(super) async fn begin(&self, begins_at: u64) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        lease.begin(begins_at).await.map_err(|silence| self.silent(silence, lease::NAME))
    }

    fn silent(&self, silence: Silence, name: &str) -> StoreError {
        match silence {
            Silence::Taken(by) => self.lost(by),
            Silence::Store(error) => self.error("write", name)(error),
        }
    }

    /// Who has begun to work there last.
    pub(super) async fn tenure(&self) -> Result<Option<Tenure>, StoreError> {
        lease::tenure(&self.store, &self.prefix).await.map_err(|unread| self.unread(unread))
    }

    pub(super) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    pub(super) fn lost(&self, TakenBy(by): TakenBy) -> StoreError {
        StoreError::Lost { location: self.location.clone(), by }
    }

    fn refused(&self, refusal: Refusal) -> TakeError {
        match refusal {
            Refusal::Held(holder) => Held { place: self.location.clone(), holder }.into(),
            Refusal::Unread(unread) => self.unread(unread).into(),
        }
    }

    fn unread(&self, unread: Unread) -> StoreError {
        match unread {
            Unread::Damaged(reason) => {
                StoreError::Owner { object: format!("{}/{}", self.location, lease::NAME), reason }
            }
            Unread::Store(error) => self.error("take", lease::NAME)(error),
        }
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn error(&self, action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> StoreError {
        let object = format!("{}/{name}", self.location);
        move |error| match error {
            object_store::Error::NotFound { .. } => StoreError::Gone { object },
            error => StoreError::Object { action, object, reason: chain(&error) },
        }
    }
}

/// Bounds in time for every request; plain HTTP, as test servers speak it, only where the provider's variable
/// `<PROVIDER>_ALLOW_HTTP` allows it.
fn client_options(provider: &str) -> ClientOptions {
    let allows_http = std::env::var(format!("{provider}_ALLOW_HTTP")).is_ok_and(|value| value == "true");
    let options = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
    options.with_allow_http(allows_http)
}

/// An error and the errors that caused it, outermost first: what matters, such as a certificate that nobody trusts, often stands
/// at the end. Some layers repeat what the one below says; that is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for source in std::iter::successors(error.source(), |error| error.source()) {
        let part = source.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}
