//! Asking a running learner from outside: how its run stands, whether it is healthy. Nothing here waits for long, and a
//! learner that does not answer is an answer too.

use crate::app::HEALTH_LEARNER;
use crate::handover::status::Status;
use anyhow::{Context, bail};
use impala_common::reach;
use impala_common::wire::pb;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Longest time of a question, from looking the name up to the answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// How the run of the learner at `url` (`http://host:port`) stands.
///
/// # Errors
/// Nobody answers there in time, or no learner of this version.
pub async fn status(url: &str) -> anyhow::Result<Status> {
    let asking = async {
        let mut client = pb::learner_client::LearnerClient::new(connect(url).await?);
        let reply = client.status(pb::StatusRequest {}).await.map_err(|status| match status.code() {
            Code::Unimplemented => anyhow::anyhow!("it is no IMPALA learner of this version: {}", status.message()),
            _ => anyhow::anyhow!("it did not answer: {}", status.message()),
        })?;
        Ok(Status::try_from(reply.into_inner())?)
    };
    in_time(asking).await.with_context(|| format!("no status from the learner at {url}"))
}

/// Whether the learner that listens on `listen` takes actors or serves weights; gives a sentence.
///
/// # Errors
/// It does not, or does not answer in time; the message says which.
pub async fn health(listen: SocketAddr) -> anyhow::Result<String> {
    let address = reach::from_here(listen).map_err(anyhow::Error::msg)?;
    let asking = async {
        let mut client = HealthClient::new(connect(&format!("http://{address}")).await?);
        let request = HealthCheckRequest { service: HEALTH_LEARNER.into() };
        let answer = client.check(request).await.map_err(|status| match status.code() {
            Code::NotFound | Code::Unimplemented => anyhow::anyhow!("it is no IMPALA learner"),
            _ => anyhow::anyhow!("it did not answer: {}", status.message()),
        })?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(format!("the learner at {address} is ready")),
            _ => bail!("it takes no actors and serves no weights: it starts or shuts down"),
        }
    };
    in_time(asking).await.with_context(|| format!("the learner at {address} is not healthy"))
}

async fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("`{url}` is no URL"))?;
    endpoint.connect().await.context("cannot connect")
}

async fn in_time<T>(asking: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}"))
}
