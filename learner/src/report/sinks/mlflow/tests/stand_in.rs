//! A server in the test's own process that is as strict as the real one, and fails when it is told to.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How a request may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is done, and this is answered.
    Status(u16),
    /// It is done, and then the answer is lost.
    AnswerLost,
    /// Nothing is done, and nothing is ever answered.
    Silence,
    /// It is refused, in the server's own words.
    Refused,
}

type Faults = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

/// A value as the server knows it: the same one twice is one.
pub(super) type Point = (String, i64, i64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct StoredRun {
    pub(super) experiment: String,
    pub(super) status: String,
    pub(super) params: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) points: BTreeSet<Point>,
    pub(super) is_deleted: bool,
}

#[derive(Default)]
pub(super) struct Stored {
    pub(super) experiments: Vec<String>,
    pub(super) runs: BTreeMap<String, StoredRun>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// What no client of the real server may do.
    pub(super) violations: Vec<String>,
    pub(super) authorizations: BTreeSet<String>,
    /// Where it says that artefacts lie, in place of its own store.
    pub(super) artifact_root: Option<String>,
    faults: Option<Faults>,
}

pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    stored: Arc<Mutex<Stored>>,
    here: Option<CancellationToken>,
}

impl StandIn {
    /// One that has an address, and is not there yet.
    pub(super) async fn absent() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self { address, stored: Arc::default(), here: None }
    }

    pub(super) async fn start() -> Self {
        let mut server = Self::absent().await;
        server.appear().await;
        server
    }

    pub(super) async fn appear(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (stored, here) = (self.stored.clone(), CancellationToken::new());
        let gone = here.clone();
        let app = Router::new().fallback(move |request: Request| answer(stored.clone(), request));
        tokio::spawn(async move { gone.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        self.here = Some(here);
    }

    /// Closes its port; connections that are open stay until their next request is decided.
    pub(super) fn disappear(&mut self) {
        self.here.take().unwrap().cancel();
    }

    pub(super) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(super) fn fail(&self, faults: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.stored().faults = Some(Box::new(faults));
    }

    pub(super) fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    /// The only run.
    pub(super) fn run(&self) -> StoredRun {
        let stored = self.stored();
        assert_eq!((stored.runs.len(), &stored.violations), (1, &vec![]));
        stored.runs.values().next().unwrap().clone()
    }
}

async fn answer(stored: Arc<Mutex<Stored>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 26).await.unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let fault = {
        let mut stored = stored.lock().unwrap();
        let authorization = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        stored.authorizations.extend(authorization);
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            stored.violations.push(format!("{path} has no length"));
        }
        stored.faults.as_mut().and_then(|faults| faults(&path))
    };
    match fault {
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Status(status)) => return respond(status, b"<html>not now</html>".to_vec()),
        Some(Fault::Refused) => return refusal("INVALID_PARAMETER_VALUE", "it is not wanted"),
        Some(Fault::AnswerLost) | None => {}
    }
    let query: BTreeMap<_, _> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let done = stored.lock().unwrap().serve(&parts.method, &path, &query, &body);
    match (done, fault) {
        (_, Some(Fault::AnswerLost)) => respond(502, Vec::new()),
        (Ok(value), _) => respond(200, value.to_string().into_bytes()),
        (Err((code, message)), _) => refusal(code, &message),
    }
}

fn respond(status: u16, body: Vec<u8>) -> Response {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from(body)).unwrap()
}

fn refusal(code: &str, message: &str) -> Response {
    let status = if code == "RESOURCE_DOES_NOT_EXIST" { 404 } else { 400 };
    respond(status, json!({ "error_code": code, "message": message }).to_string().into_bytes())
}

type Refusal = (&'static str, String);

impl Stored {
    fn serve(
        &mut self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Bytes,
    ) -> Result<Value, Refusal> {
        if let Some(place) = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/") {
            assert_eq!(method, Method::PUT);
            self.files.insert(place.to_owned(), body.to_vec());
            return Ok(json!({}));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        match path.strip_prefix("/api/2.0/mlflow/").unwrap_or_default() {
            "experiments/get-by-name" => {
                let place = self.experiments.iter().position(|name| *name == query["experiment_name"]);
                let place = place.ok_or(("RESOURCE_DOES_NOT_EXIST", "no such experiment".to_owned()))?;
                Ok(json!({ "experiment": { "experiment_id": place.to_string() } }))
            }
            "experiments/create" if self.experiments.contains(&text("name")) => {
                Err(("RESOURCE_ALREADY_EXISTS", "somebody was faster".into()))
            }
            "experiments/create" => {
                self.experiments.push(text("name"));
                Ok(json!({ "experiment_id": (self.experiments.len() - 1).to_string() }))
            }
            "runs/create" => {
                let id = format!("run{}", self.runs.len());
                let run =
                    StoredRun { experiment: text("experiment_id"), status: "RUNNING".into(), ..StoredRun::default() };
                self.runs.insert(id.clone(), run);
                self.log(&id, &json!({ "tags": body["tags"] }))?;
                Ok(json!({ "run": self.described(&id) }))
            }
            "runs/get" if self.runs.contains_key(&query["run_id"]) => {
                Ok(json!({ "run": self.described(&query["run_id"]) }))
            }
            "runs/get" => Err(("RESOURCE_DOES_NOT_EXIST", "no such run".into())),
            "runs/search" => {
                let filter = text("filter");
                let (key, value) = filter.strip_prefix("tags.`").unwrap().split_once("` = '").unwrap();
                let value = value.strip_suffix('\'').unwrap();
                let found = self.runs.iter().find(|(_, run)| run.tags.get(key).is_some_and(|tag| tag == value));
                Ok(found.map_or(json!({}), |(id, _)| json!({ "runs": [self.described(id)] })))
            }
            "runs/update" => {
                self.runs.get_mut(&text("run_id")).unwrap().status = text("status");
                Ok(json!({ "run_info": {} }))
            }
            "runs/log-batch" => {
                if body.to_string().len() > 1_000_000 {
                    self.violations.push("a request is too large".into());
                }
                self.log(&text("run_id"), &body)
            }
            other => Err(("ENDPOINT_NOT_FOUND", other.into())),
        }
    }

    fn described(&self, id: &str) -> Value {
        let run = &self.runs[id];
        let list = |entries: &BTreeMap<String, String>| {
            entries.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>()
        };
        let mut data = json!({ "tags": list(&run.tags) });
        // Nothing where there is none, as the real one.
        if !run.params.is_empty() {
            data["params"] = list(&run.params).into();
        }
        let root = self.artifact_root.clone().unwrap_or_else(|| format!("mlflow-artifacts:/{}", run.experiment));
        json!({
            "info": {
                "run_id": id, "experiment_id": run.experiment, "artifact_uri": format!("{root}/{id}/artifacts"),
                "lifecycle_stage": if run.is_deleted { "deleted" } else { "active" },
            },
            "data": data,
        })
    }

    fn log(&mut self, id: &str, batch: &Value) -> Result<Value, Refusal> {
        let list = |key: &str| batch[key].as_array().cloned().unwrap_or_default();
        for (key, max) in [("metrics", 1000), ("params", 100), ("tags", 100)] {
            if list(key).len() > max {
                self.violations.push(format!("{} {key} in a request", list(key).len()));
            }
        }
        let run = self.runs.get_mut(id).ok_or(("RESOURCE_DOES_NOT_EXIST", "no such run".to_owned()))?;
        if run.is_deleted {
            return Err(("INVALID_PARAMETER_VALUE", "the run must be active".into()));
        }
        let entry = |entry: &Value| ["key", "value"].map(|key| entry[key].as_str().unwrap().to_owned());
        for [key, value] in list("params").iter().map(entry) {
            if value.chars().count() > 6000 {
                return Err(("INVALID_PARAMETER_VALUE", "the value is too long".into()));
            }
            if run.params.get(&key).is_some_and(|before| *before != value) {
                return Err(("INVALID_PARAMETER_VALUE", "params cannot be changed".into()));
            }
            run.params.insert(key, value);
        }
        run.tags.extend(list("tags").iter().map(entry).map(|[key, value]| (key, value)));
        for metric in list("metrics") {
            let number = |key: &str| metric[key].as_i64().unwrap();
            let value = metric["value"].as_f64().unwrap().to_bits();
            run.points.insert((metric["key"].as_str().unwrap().to_owned(), number("timestamp"), number("step"), value));
        }
        Ok(json!({}))
    }
}
