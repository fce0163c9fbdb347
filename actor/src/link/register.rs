//! Registration: connects, introduces the actor, and keeps trying until the learner accepts or refuses for good.

use super::{Client, Connection, Identity, LearnerUrl, LinkError, chain, describe};
use crate::backoff::Backoff;
use impala_common::ids::Sequence;
use impala_common::snapshot::Encoding;
use impala_common::spec::{Agreement, EnvironmentName, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, TakeUp};
use impala_common::wire::{Registration, pb};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Endpoint;

/// A host that drops packets is given up after this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that died without closing its connection is noticed after interval and timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Receive windows, bytes. HTTP/2's default of 64 KiB makes a snapshot of megabytes wait for its round trips.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Least time between two messages about waiting for the learner.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Registers at the learner, however long it takes to come up. `produced` trajectories were made so far.
///
/// # Errors
/// The learner and this actor do not fit together.
pub async fn register(
    url: &LearnerUrl,
    identity: &Identity,
    produced: Sequence,
    backoff: &mut Backoff,
) -> Result<Connection, LinkError> {
    let mut last_log: Option<Instant> = None;
    loop {
        let reason = match attempt(url, identity, produced).await {
            Ok(connection) => return Ok(connection),
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Passing(reason)) => reason,
        };
        if last_log.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            tracing::info!("waiting for the learner at {url}: {reason}");
            last_log = Some(Instant::now());
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Why one attempt failed.
enum Failure {
    /// The next one may succeed.
    Passing(String),
    /// No other will.
    Fatal(LinkError),
}

async fn attempt(url: &LearnerUrl, identity: &Identity, produced: Sequence) -> Result<Connection, Failure> {
    let endpoint = Endpoint::from_shared(url.0.clone())
        .expect("a learner's URL was parsed before")
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let channel = endpoint.connect().await.map_err(|error| Failure::Passing(chain(&error)))?;
    let mut client =
        Client::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let request = pb::RegisterRequest::from(registration(identity, produced));
    let reply = client.register(request).await.map_err(|status| match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument => {
            Failure::Fatal(LinkError::Refused { url: url.clone(), message: status.message().to_owned() })
        }
        Code::Unimplemented => {
            let message = format!("it is no IMPALA learner of this version ({})", describe(&status));
            Failure::Fatal(LinkError::Refused { url: url.clone(), message })
        }
        _ => Failure::Passing(describe(&status)),
    })?;
    let mut reply = reply.into_inner();
    let take_up = reply.take_up.take().map(TakeUp::from);
    let agreement = Agreement::try_from(reply)
        .map_err(|reason| Failure::Fatal(LinkError::Agreement { url: url.clone(), reason }))?;
    let environment = check(url, identity, &agreement).map_err(Failure::Fatal)?;
    Ok(Connection { client, agreement, environment, take_up })
}

fn registration(identity: &Identity, produced: Sequence) -> Registration {
    Registration {
        protocol_version: PROTOCOL_VERSION,
        actor_name: identity.name.clone(),
        incarnation: identity.incarnation,
        actor_index: identity.index,
        produced,
        environments: identity.environments.iter().map(|environment| environment.spec()).collect(),
        encodings: Encoding::ALL.to_vec(),
    }
}

/// Finds the agreed environment among those on offer, and insists on the wanted index.
fn check(url: &LearnerUrl, identity: &Identity, agreement: &Agreement) -> Result<EnvironmentName, LinkError> {
    let mismatch = |field, wanted, offered| LinkError::Mismatch { url: url.clone(), field, wanted, offered };
    if let Some(index) = identity.index.filter(|index| *index != agreement.actor_index) {
        return Err(mismatch("actor_index", agreement.actor_index.to_string(), index.to_string()));
    }
    let mut offers = identity.environments.iter().copied();
    offers.find(|offer| offer.spec() == agreement.environment).ok_or_else(|| {
        let offered: Vec<_> = identity.environments.iter().map(|offer| offer.spec().to_string()).collect();
        mismatch("environment", agreement.environment.to_string(), offered.join(", "))
    })
}
