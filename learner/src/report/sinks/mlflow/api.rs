//! Requests to an MLflow server, over its REST API and its artefact store. Knows the server's words, limits and errors; of training it knows
//! nothing, and it tries everything once.

pub(super) mod batch;
pub(super) mod credentials;
pub(super) mod error;

use batch::{Batch, Entry};
use bytes::Bytes;
use credentials::Credentials;
use error::ApiError;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use url::Url;

/// Most of an answer that is read: a run with all its parameters and tags is a few dozen kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 22;
/// A file is read and sent in parts of so many bytes.
const PART_BYTES: usize = 1 << 16;
/// How long a connection may have been idle that is used again.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// What a file may take besides the time of a request: even a slow line carries so many bytes a second.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 1 << 17;

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    credentials: Credentials,
    request_max: Duration,
}

/// A run as the server has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) info: RunInfo,
    pub(super) data: RunData,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunInfo {
    pub(super) run_id: String,
    pub(super) experiment_id: String,
    /// Where its artefacts lie, as a URI.
    pub(super) artifact_uri: String,
    /// `active`, or `deleted`.
    pub(super) lifecycle_stage: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunData {
    pub(super) params: Vec<Entry>,
    pub(super) tags: Vec<Entry>,
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Running,
    Finished,
    Failed,
    Killed,
}

#[derive(Deserialize)]
struct RunAnswer {
    run: Run,
}

#[derive(Deserialize)]
struct RunsAnswer {
    #[serde(default)]
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct ExperimentAnswer {
    experiment: Experiment,
}

#[derive(Deserialize)]
struct Experiment {
    experiment_id: String,
}

/// An answer in which nothing is of interest.
#[derive(Deserialize)]
struct Nothing {}

impl Client {
    /// A client whose requests take so long at most.
    ///
    /// # Errors
    /// The machine has no way to tell whom to trust (TLS).
    pub(super) fn new(server: Url, credentials: Credentials, request_max: Duration) -> Result<Self, ApiError> {
        // The first of a process wins; another one that was installed does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("impala/", env!("CARGO_PKG_VERSION")))
            // Whoever answers elsewhere has no business with the credentials.
            .redirect(redirect::Policy::none())
            // Shorter than any server keeps a connection that nobody uses (2 s at least), so that none is closed just when it is used.
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self { http, server, credentials, request_max })
    }

    /// The server's URL, without a slash at its end.
    pub(super) fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// The identifier of the experiment of this name, if there is one.
    pub(super) async fn experiment(&self, name: &str) -> Result<Option<String>, ApiError> {
        let asked = self.ask::<ExperimentAnswer>("experiments/get-by-name", &[("experiment_name", name)]).await;
        match asked {
            Err(error) if error.is("RESOURCE_DOES_NOT_EXIST") => Ok(None),
            asked => asked.map(|answer| Some(answer.experiment.experiment_id)),
        }
    }

    /// Creates an experiment, unless somebody was faster.
    pub(super) async fn create_experiment(&self, name: &str) -> Result<(), ApiError> {
        match self.post::<Nothing>("experiments/create", &json!({ "name": name })).await {
            Err(error) if error.is("RESOURCE_ALREADY_EXISTS") => Ok(()),
            posted => posted.map(drop),
        }
    }

    /// Creates a run. Asked twice, a server creates two.
    pub(super) async fn create_run(
        &self,
        experiment_id: &str,
        name: &str,
        start_time: i64,
        tags: &[Entry],
    ) -> Result<Run, ApiError> {
        let run = json!({
            "experiment_id": experiment_id, "run_name": name, "start_time": start_time, "tags": tags,
        });
        Ok(self.post::<RunAnswer>("runs/create", &run).await?.run)
    }

    /// A run by its identifier, if there is one that nobody has deleted.
    pub(super) async fn run(&self, run_id: &str) -> Result<Option<Run>, ApiError> {
        match self.ask::<RunAnswer>("runs/get", &[("run_id", run_id)]).await {
            Err(error) if error.is("RESOURCE_DOES_NOT_EXIST") => Ok(None),
            asked => asked.map(|answer| Some(answer.run).filter(|run| run.info.lifecycle_stage != "deleted")),
        }
    }

    /// A run with this tag.
    pub(super) async fn run_with_tag(&self, experiment_id: &str, tag: &Entry) -> Result<Option<Run>, ApiError> {
        let filter = format!("tags.`{}` = '{}'", tag.key, tag.value);
        let question = json!({ "experiment_ids": [experiment_id], "filter": filter, "max_results": 1 });
        Ok(self.post::<RunsAnswer>("runs/search", &question).await?.runs.pop())
    }

    /// Tells what a run is about, and when it ended.
    pub(super) async fn update_run(&self, run_id: &str, status: Status, end_time: Option<i64>) -> Result<(), ApiError> {
        let mut update = json!({ "run_id": run_id, "status": status });
        if let Some(end_time) = end_time {
            update["end_time"] = end_time.into();
        }
        self.post::<Nothing>("runs/update", &update).await.map(drop)
    }

    /// Adds a batch to a run.
    pub(super) async fn log(&self, run_id: &str, batch: &Batch) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Log<'a> {
            run_id: &'a str,
            #[serde(flatten)]
            batch: &'a Batch,
        }
        self.post::<Nothing>("runs/log-batch", &Log { run_id, batch }).await.map(drop)
    }

    /// Sends a file to a place in the server's artefact store, without ever having much of it in memory.
    pub(super) async fn upload(&self, place: &[&str], file: &Path) -> Result<(), ApiError> {
        let unreadable = |error: io::Error| ApiError::Unreadable { path: file.to_owned(), reason: error.to_string() };
        let opened = File::open(file).map_err(unreadable)?;
        let len = opened.metadata().map_err(unreadable)?.len();
        let url = self.url(&[&["mlflow-artifacts", "artifacts"], place].concat());
        let body = Body::wrap_stream(futures_util::stream::iter(parts(opened.take(len))));
        // Told beforehand, since servers of Python know no other end of a body.
        let request = self.http.put(url).header(CONTENT_LENGTH, len).body(body);
        let time = self.request_max + Duration::from_secs(len / UPLOAD_BYTES_PER_SECOND_MIN);
        self.answer(request.timeout(time)).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, query: &[(&str, &str)]) -> Result<T, ApiError> {
        let mut url = self.method(method);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.request(Method::GET, url).timeout(self.request_max);
        parse(&self.answer(request).await?)
    }

    async fn post<T: DeserializeOwned>(&self, method: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).expect("numbers and texts are JSON");
        let request = self.http.post(self.method(method)).header("content-type", "application/json").body(body);
        parse(&self.answer(request.timeout(self.request_max)).await?)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, ApiError> {
        let response = self.credentials.sign(request).send().await?;
        let (status, wait) = (response.status(), error::retry_after(response.headers()));
        let body = read(response).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(ApiError::of_answer(status, wait, &body)),
        }
    }

    fn method(&self, method: &str) -> Url {
        self.url(&["mlflow"].into_iter().chain(method.split('/')).collect::<Vec<_>>())
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        let mut segments = url.path_segments_mut().expect("the setting is a URL with a host");
        segments.pop_if_empty().extend(["api", "2.0"]).extend(path);
        drop(segments);
        url
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|_| ApiError::of_answer(StatusCode::OK, None, body))
}

async fn read(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(ApiError::of_answer(StatusCode::OK, None, b"an answer without end"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// What a reader has, in parts.
fn parts(mut reader: impl Read) -> impl Iterator<Item = io::Result<Bytes>> {
    std::iter::from_fn(move || {
        let mut part = vec![0; PART_BYTES];
        let read = loop {
            match reader.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => None,
            Ok(len) => {
                part.truncate(len);
                Some(Ok(part.into()))
            }
            Err(error) => Some(Err(error)),
        }
    })
}
