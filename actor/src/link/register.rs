//! Registration: finds the learner, introduces the actor, and keeps trying until a learner accepts or refuses for good.

use super::{Connection, Identity, LinkError, describe};
use crate::backoff::Backoff;
use crate::standing::{Standing, StandingSlot};
use impala_common::agreement::{Agreement, PROTOCOL_VERSION, TakeUp};
use impala_common::channel::{Dialler, LearnerUrl, client};
use impala_common::ids::Sequence;
use impala_common::snapshot::Encoding;
use impala_common::wire::{RUN_COMPLETED, RUN_STATE_METADATA, Registration, pb, run_name};
use impala_env::EnvironmentKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Least time between two messages about waiting for a learner.
const WAITING_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The same about a completed run, which may stay completed for days.
const IDLE_LOG_INTERVAL: Duration = Duration::from_secs(600);
/// Addresses that one message tells of.
const ADDRESSES_TOLD_MAX: usize = 4;

/// Registers at the learner, however long it takes to come up; `standing` tells what it is waiting for meanwhile.
/// `produced` trajectories were made so far.
///
/// # Errors
/// The learner and this actor do not fit together.
pub async fn register(
    dialler: &Dialler,
    identity: &Identity,
    produced: Sequence,
    backoff: &mut Backoff,
    standing: &StandingSlot,
) -> Result<Connection, LinkError> {
    let mut last_note: Option<(Standing, Instant)> = None;
    loop {
        let mut is_misfit = false;
        let Setback { reason, is_completed } = match attempt(dialler, identity, produced).await {
            Ok(connection) => {
                standing.send_replace(Standing::Registered);
                return Ok(connection);
            }
            Err(Failure::Fatal(error)) if identity.waits => {
                is_misfit = true;
                error.to_string().into()
            }
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Passing(setback)) => setback,
        };
        let (now, interval) = match (is_completed, is_misfit) {
            (true, _) => (Standing::Idle, IDLE_LOG_INTERVAL),
            (false, true) => (Standing::Waiting, IDLE_LOG_INTERVAL),
            (false, false) => (Standing::Waiting, WAITING_LOG_INTERVAL),
        };
        standing.send_replace(now);
        if last_note.is_none_or(|(noted, at)| noted != now || at.elapsed() >= interval) {
            let url = &dialler.url;
            match now {
                _ if is_misfit => {
                    tracing::warn!("waiting for another learner, since this actor was started with --wait: {reason}");
                }
                Standing::Idle => tracing::info!("idle until the learner at {url} has a new run: {reason}"),
                _ => tracing::info!("waiting for the learner at {url}: {reason}"),
            }
            last_note = Some((now, Instant::now()));
        }
        let wait = if is_completed {
            // Should this learner go, its successor is looked for at the usual pace.
            backoff.reset();
            backoff.spread(dialler.timing.idle_wait)
        } else {
            backoff.next_wait()
        };
        tokio::time::sleep(wait).await;
    }
}

/// Why one attempt failed.
enum Failure {
    /// The next one may succeed.
    Passing(Setback),
    /// Trying again cannot help.
    Fatal(LinkError),
}

/// What stood in the way for now.
struct Setback {
    reason: String,
    /// Whether a learner said that its run is completed.
    is_completed: bool,
}

impl From<String> for Setback {
    fn from(reason: String) -> Self {
        Self { reason, is_completed: false }
    }
}

/// Tries every present address of the name, until one accepts or refuses for good.
async fn attempt(dialler: &Dialler, identity: &Identity, produced: Sequence) -> Result<Connection, Failure> {
    let addresses = dialler.addresses().await.map_err(|reason| Failure::Passing(reason.into()))?;
    let (mut reasons, mut is_completed) = (Vec::new(), false);
    for address in &addresses {
        match attempt_at(dialler, *address, identity, produced).await {
            Err(Failure::Passing(setback)) => {
                is_completed |= setback.is_completed;
                if reasons.len() < ADDRESSES_TOLD_MAX {
                    reasons.push(format!("{address}: {}", setback.reason));
                }
            }
            settled => return settled,
        }
    }
    let untold = addresses.len() - reasons.len();
    if untold > 0 {
        reasons.push(format!("and {untold} more addresses"));
    }
    Err(Failure::Passing(Setback { reason: reasons.join("; "), is_completed }))
}

async fn attempt_at(
    dialler: &Dialler,
    address: SocketAddr,
    identity: &Identity,
    produced: Sequence,
) -> Result<Connection, Failure> {
    let url = &dialler.url;
    let channel = dialler.connect(address).await.map_err(|reason| Failure::Passing(reason.into()))?;
    let mut client = client::learner(channel);
    let request = pb::RegisterRequest::from(registration(identity, produced));
    let patience = dialler.timing.register;
    let reply = tokio::time::timeout(patience, client.register(request)).await;
    let unanswered = |_| Failure::Passing(format!("no answer to the registration within {patience:?}").into());
    let reply = reply.map_err(unanswered)?.map_err(|status| refusal(url, &status))?;
    let mut reply = reply.into_inner();
    let take_up = reply.take_up.take().map(TakeUp::from);
    let weights_in_receipts = reply.weights_in_receipts.unwrap_or(false);
    let run = reply.run.as_deref().map(run_name);
    let agreement = Agreement::try_from(reply)
        .map_err(|reason| Failure::Fatal(LinkError::Agreement { url: url.clone(), reason }))?;
    let environment = check(url, identity, &agreement).map_err(Failure::Fatal)?;
    Ok(Connection { client, agreement, environment, run, take_up, weights_in_receipts })
}

/// What a refused registration means.
fn refusal(url: &LearnerUrl, status: &Status) -> Failure {
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument => {
            Failure::Fatal(LinkError::Refused { url: url.clone(), message: status.message().to_owned() })
        }
        Code::Unimplemented => {
            let message = format!("it is no IMPALA learner of this version ({})", describe(status));
            Failure::Fatal(LinkError::Refused { url: url.clone(), message })
        }
        _ => {
            let is_completed = status.metadata().get(RUN_STATE_METADATA).is_some_and(|state| state == RUN_COMPLETED);
            Failure::Passing(Setback { reason: describe(status), is_completed })
        }
    }
}

fn registration(identity: &Identity, produced: Sequence) -> Registration {
    Registration {
        protocol_version: PROTOCOL_VERSION,
        actor_name: identity.name.clone(),
        incarnation: identity.incarnation,
        actor_index: identity.index,
        produced,
        environments: identity.environments.kinds().iter().map(|kind| kind.spec().clone()).collect(),
        encodings: Encoding::ALL.to_vec(),
        weights_in_receipts: identity.weights_in_receipts,
        stored_payloads: true,
        evaluates: identity.evaluates,
    }
}

/// Finds the agreed environment among those on offer, and insists on the wanted index.
fn check(url: &LearnerUrl, identity: &Identity, agreement: &Agreement) -> Result<EnvironmentKind, LinkError> {
    let mismatch = |field, wanted, offered| LinkError::Mismatch { url: url.clone(), field, wanted, offered };
    if let Some(index) = identity.index.filter(|index| *index != agreement.actor_index) {
        return Err(mismatch("actor_index", agreement.actor_index.to_string(), index.to_string()));
    }
    let offers = identity.environments.kinds();
    offers.iter().find(|offer| *offer.spec() == agreement.environment).cloned().ok_or_else(|| {
        let offered: Vec<_> = offers.iter().map(|offer| offer.spec().to_string()).collect();
        mismatch("environment", agreement.environment.to_string(), offered.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::channel::Resolver;
    use impala_common::ids::Incarnation;
    use impala_env::Registry;

    /// What an actor says that finds its learner at `addresses`, where nobody listens.
    async fn setback(addresses: Vec<SocketAddr>) -> String {
        let mut dialler = Dialler::new("learner:50051".parse().unwrap());
        dialler.resolver = Resolver::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))));
        let (name, incarnation) = ("a".into(), Incarnation(1));
        let environments = Registry::new();
        let identity = Identity {
            name,
            incarnation,
            index: None,
            environments,
            weights_in_receipts: true,
            evaluates: true,
            waits: false,
        };
        match attempt(&dialler, &identity, Sequence(0)).await {
            Err(Failure::Passing(setback)) => setback.reason,
            _ => panic!("nobody listens"),
        }
    }

    #[tokio::test]
    async fn the_message_names_every_address_once_and_not_too_many() {
        // Ports that were free a moment ago.
        let mut addresses = Vec::new();
        for _ in 0..6 {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
        }
        addresses.dedup();
        let two = setback(vec![addresses[0], addresses[1], addresses[0]]).await;
        assert!(
            two.contains(&format!("{}: ", addresses[0])) && two.contains(&format!("; {}: ", addresses[1])),
            "{two}"
        );
        assert_eq!(two.matches("Connection refused").count(), 2, "{two}");
        let many = setback([addresses.as_slice(), &[([127, 0, 0, 1], 1).into()]].concat()).await;
        assert!(many.contains("more addresses"), "{many}");
        assert_eq!(setback(vec![]).await, "`learner` has no address");
    }
}
