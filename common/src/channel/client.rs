//! What may be asked of a learner from outside, without a registration: how its run stands, whether it is healthy, its newest
//! model. No question waits for long, and a learner that does not answer is an answer too.

use super::dial::Dialler;
use crate::agreement::MESSAGE_BYTES_MAX;
use crate::ids::WeightsVersion;
use crate::snapshot::Decoder;
use crate::status::Status;
use crate::wire::{HEALTH_LEARNER, ServedModel, pb};
use impala_env::spec::EnvironmentSpec;
use impala_policy::network::NetworkSpec;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Longest time of a question, from looking the name up to the answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same for a model, which may have hundreds of megabytes.
const MODEL_PATIENCE: Duration = Duration::from_secs(60);

/// The generated client, with the bounds of the contract.
pub type LearnerClient = pb::learner_client::LearnerClient<Channel>;

/// A client that reads and writes messages up to the largest that the contract allows.
pub fn learner(channel: Channel) -> LearnerClient {
    LearnerClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Why a question has no answer, in words; with several addresses, what each of them said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AskError(String);

/// A policy as a learner serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it was trained for.
    pub environment: EnvironmentSpec,
    /// What the parameters belong to.
    pub network: NetworkSpec,
    /// Updates that made it.
    pub version: WeightsVersion,
    /// In the order of the network.
    pub parameters: Vec<f32>,
}

/// How the run of a learner stands.
///
/// # Errors
/// Nobody answers in time, or no learner of this version.
pub async fn status(dialler: &Dialler) -> Result<Status, AskError> {
    ask(dialler, PATIENCE, |channel| async move {
        let reply = learner(channel).status(pb::StatusRequest {}).await.map_err(|status| refusal(&status))?;
        Status::try_from(reply.into_inner()).map_err(|error| format!("its answer is not valid: {error}"))
    })
    .await
}

/// Whether a learner takes actors or serves weights; `Ok` if it does.
///
/// # Errors
/// It does not, or does not answer in time.
pub async fn health(dialler: &Dialler) -> Result<(), AskError> {
    ask(dialler, PATIENCE, |channel| async move {
        let request = HealthCheckRequest { service: HEALTH_LEARNER.into() };
        let answer = HealthClient::new(channel).check(request).await.map_err(|status| match status.code() {
            Code::NotFound | Code::Unimplemented => "it is no IMPALA learner".to_owned(),
            _ => format!("it did not answer: {}", status.message()),
        })?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            _ => Err("it takes no actors and serves no weights: it starts or shuts down".to_owned()),
        }
    })
    .await
}

/// The newest model of a learner, in full.
///
/// # Errors
/// Nobody answers in time, there is no model yet, or what came is not valid.
pub async fn model(dialler: &Dialler) -> Result<Model, AskError> {
    ask(dialler, MODEL_PATIENCE, |channel| async move {
        let reply = learner(channel).get_model(pb::GetModelRequest {}).await.map_err(|status| refusal(&status))?;
        let served = ServedModel::try_from(reply.into_inner()).map_err(|error| error.to_string());
        // Off the async threads: a large model takes long to decompress.
        let decoding = tokio::task::spawn_blocking(move || {
            let ServedModel { environment, network, snapshot } = served?;
            let decoded = Decoder::new(&network).decode(&snapshot);
            let parameters = decoded.map_err(|error| error.to_string())?;
            Ok(Model { environment, network, version: snapshot.version, parameters })
        });
        let decoded: Result<Model, String> = decoding.await.map_err(|_| "decoding it broke off".to_owned())?;
        decoded.map_err(|reason| format!("its model is not valid: {reason}"))
    })
    .await
}

/// What a refused question means.
fn refusal(status: &tonic::Status) -> String {
    match status.code() {
        Code::Unimplemented => format!("it is no IMPALA learner of this version: {}", status.message()),
        _ => format!("it did not answer: {}", status.message()),
    }
}

/// Asks every present address of the name in turn until one answers; each gets an equal share of the time that is left.
async fn ask<T, F>(dialler: &Dialler, patience: Duration, question: impl Fn(Channel) -> F) -> Result<T, AskError>
where
    F: Future<Output = Result<T, String>>,
{
    let late = || format!("no answer within {patience:?}");
    let deadline = Instant::now() + patience;
    let found = tokio::time::timeout_at(deadline, dialler.addresses()).await;
    let addresses = found.unwrap_or_else(|_| Err(late())).map_err(AskError)?;
    let mut reasons = Vec::with_capacity(addresses.len());
    for (place, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left.div_f64((addresses.len() - place) as f64);
        let asking = async {
            let channel = dialler.connect(*address).await.map_err(|reason| format!("cannot connect: {reason}"))?;
            question(channel).await
        };
        match tokio::time::timeout(share, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(reason)) if addresses.len() == 1 => return Err(AskError(reason)),
            Ok(Err(reason)) => reasons.push(format!("{address}: {reason}")),
            Err(_) if addresses.len() == 1 => return Err(AskError(late())),
            Err(_) => reasons.push(format!("{address}: no answer within its share of {patience:?}")),
        }
    }
    Err(AskError(reasons.join("; ")))
}
