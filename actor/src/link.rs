//! The link: the actor's side of the wire. It registers, pushes trajectories, takes weights, and says how it ended.
//!
//! Protobuf types are named only here and below. The link knows no environments and no policy: trajectories come in by a
//! channel, weights go out by another, receipts open the window.

mod dial;
mod inbox;
mod push;
mod register;
mod watch;

use crate::weights::Weights;
use crate::window::Window;
pub use dial::{Dialler, Resolver, Resolving, Timing};
use impala_common::agreement::{Agreement, TakeUp};
use impala_common::ids::{ActorIndex, Incarnation, Sequence};
use impala_common::trajectory::Trajectory;
use impala_common::wire::{WireError, pb};
use impala_env::{EnvironmentKind, Registry};
pub use push::FAREWELL_GRACE;
pub use register::register;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch as watch_channel};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Status};

type Client = pb::learner_client::LearnerClient<Channel>;

/// Where the learner listens: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnerUrl {
    /// As it stands in the URL: an address of IPv6 in brackets.
    host: String,
    port: u16,
}

impl LearnerUrl {
    /// A name or an address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for LearnerUrl {
    type Err = String;

    /// Accepts `host:port` and gRPC's `dns:///host:port` too; all three mean the same, names are always resolved anew.
    fn from_str(text: &str) -> Result<Self, String> {
        let example = "give host and port, e.g. http://127.0.0.1:50051";
        let full = match text.strip_prefix("dns:///") {
            Some(target) => format!("http://{target}"),
            None if text.contains("://") => text.to_owned(),
            None => format!("http://{text}"),
        };
        let uri: Uri = full.parse().map_err(|error| format!("`{text}` is no URL ({error}): {example}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "`{text}` begins neither with http:// nor with dns:///, the only schemes that actors speak: {example}"
            ));
        }
        let (Some(host), Some(port)) = (uri.host().filter(|host| !host.is_empty()), uri.port_u16()) else {
            return Err(format!("`{text}` has no port: {example}"));
        };
        let is_more = uri.path_and_query().is_some_and(|path| path.as_str() != "/");
        if is_more || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("`{text}` has more than a host and a port: {example}"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for LearnerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// Snapshots in a row that may fail. After each a full one is sent: what damages that many is no accident.
const DAMAGED_MAX: u32 = 5;

/// What an actor says of itself at every registration.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Stable across restarts of the actor.
    pub name: String,
    /// Random number of this process.
    pub incarnation: Incarnation,
    /// The wanted place in the run.
    pub index: Option<ActorIndex>,
    /// The environments on offer.
    pub environments: Registry,
    /// Whether weights may come with receipts; else they come by a stream of their own, every version.
    pub weights_in_receipts: bool,
}

/// A connection to a learner that has accepted the actor.
pub struct Connection {
    client: Client,
    /// What both agreed on.
    pub agreement: Agreement,
    /// What to step.
    pub environment: EnvironmentKind,
    /// Where to go on; present in deterministic runs.
    pub take_up: Option<TakeUp>,
    /// Whether the learner sends weights with receipts.
    weights_in_receipts: bool,
}

/// What one registration works with.
pub struct Streams {
    /// Trajectories to push. Its end means that the rollout has ended.
    pub trajectories: mpsc::Receiver<Trajectory>,
    /// Gets a permit back for each receipt.
    pub window: Arc<Window>,
    /// Where weights go.
    pub weights: watch_channel::Sender<Option<Arc<Weights>>>,
    /// Asks for farewell; cancelled here when the learner is the one who ends the run.
    pub stop: CancellationToken,
}

/// Trajectories that the learner answered, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Used for an update.
    pub trained: u64,
    /// Refused: the policy was too old.
    pub stale: u64,
    /// Refused: the learner was ending.
    pub shutdown: u64,
}

impl Receipts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.trained + self.stale + self.shutdown
    }
}

impl std::ops::AddAssign for Receipts {
    fn add_assign(&mut self, other: Self) {
        self.trained += other.trained;
        self.stale += other.stale;
        self.shutdown += other.shutdown;
    }
}

/// How a registration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The learner ended the run, for this reason.
    Finished(String),
    /// The same, but the actor is to wait and to register again.
    ToldToWait(String),
    /// This side asked for the end.
    Stopped,
    /// The learner went away, for this reason; it may come back.
    Disconnected(String),
}

/// What one registration came to.
#[derive(Debug)]
pub struct SessionReport {
    /// What the learner answered.
    pub receipts: Receipts,
    /// How it ended; an error is one that registering anew does not heal.
    pub end: Result<SessionEnd, LinkError>,
}

/// What ends an actor: trying again would not help. Messages are complete: none of the variants has a source besides.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The learner does not want this actor.
    #[error("the learner at {url} refused this actor: {message}")]
    Refused {
        /// Where it listens.
        url: LearnerUrl,
        /// What it said.
        message: String,
    },
    /// The learner's reply to the registration is not valid.
    #[error("the agreement that the learner at {url} offers is not valid: {reason}")]
    Agreement {
        /// Where it listens.
        url: LearnerUrl,
        /// The field that is at fault.
        reason: WireError,
    },
    /// The learner wants what this actor did not offer.
    #[error("the learner at {url} wants {field} {wanted}, this actor offers {offered}")]
    Mismatch {
        /// Where it listens.
        url: LearnerUrl,
        /// Field of the agreement.
        field: &'static str,
        /// The learner's value.
        wanted: String,
        /// This actor's value.
        offered: String,
    },
    /// The learner found a trajectory invalid.
    #[error("the learner rejected a trajectory: {message}")]
    Rejected {
        /// What it said.
        message: String,
    },
    /// The learner sent what the wire contract does not allow.
    #[error("the learner's answer to a trajectory is not valid: {0}")]
    Answer(WireError),
    /// Full snapshots of the weights fail one after the other.
    #[error("the weights could not be decoded {attempts} times in a row, at last: {reason}")]
    Weights {
        /// Failures in a row.
        attempts: u32,
        /// The last one.
        reason: String,
    },
}

/// Pushes trajectories and takes weights until one side ends it; `produced` trajectories were made before.
pub async fn serve(connection: Connection, produced: Sequence, streams: Streams) -> SessionReport {
    let Connection { client, agreement, weights_in_receipts, .. } = connection;
    let Streams { trajectories, window, weights, stop } = streams;
    let parameter_count = agreement.network.parameter_count();
    let inbound = weights_in_receipts.then(|| push::Inbound::new(parameter_count, weights.clone()));
    let mut push = push::Push::new(agreement.session, produced, window, inbound, stop.clone());
    let watching = async {
        if weights_in_receipts {
            return std::future::pending().await;
        }
        tokio::select! {
            end = watch::watch(client.clone(), agreement.session, parameter_count, weights) => end,
            // Once the end is agreed, weights no longer matter and must not cut the farewell short.
            () = stop.cancelled() => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = push.run(client.clone(), trajectories) => end,
        end = watching => end,
    };
    SessionReport { receipts: push.receipts(), end }
}

/// What a status means, with the causes behind it: `unavailable: tcp connect error: Connection refused (os error 111)`.
fn describe(status: &Status) -> String {
    let code = status.code();
    let name = format!("{code:?}");
    match status.message() {
        "" => code.description().to_owned(),
        message if code == Code::Unknown => message.to_owned(),
        message => format!("{name}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_scheme_are_one_learner() {
        let urls = ["http://127.0.0.1:50051", "127.0.0.1:50051", "http://127.0.0.1:50051/", "dns:///127.0.0.1:50051"];
        for url in urls {
            assert_eq!(url.parse::<LearnerUrl>().unwrap().to_string(), "http://127.0.0.1:50051");
        }
        assert_eq!("learner:1".parse::<LearnerUrl>().unwrap().to_string(), "http://learner:1");
        assert_eq!("dns:///learner.impala:1".parse::<LearnerUrl>().unwrap().to_string(), "http://learner.impala:1");
        let url = "[::1]:50051".parse::<LearnerUrl>().unwrap();
        assert_eq!((url.to_string().as_str(), url.host(), url.port()), ("http://[::1]:50051", "::1", 50051));
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_fix() {
        let error = |text: &str| text.parse::<LearnerUrl>().unwrap_err();
        let wrong =
            ["learner", "http://learner", "https://learner:1", "http://learner:1/path", "", "http://:1", "a b:1"];
        let wrong_names =
            ["dns:///learner", "dns://1.1.1.1/learner:1", "dns:///", "http://me@learner:1", "learner:70000"];
        for text in wrong.into_iter().chain(wrong_names) {
            let error = error(text);
            assert!(error.contains("e.g. http://127.0.0.1:50051") && error.contains(&format!("`{text}`")), "{error}");
        }
        assert!(error("https://learner:1").contains("scheme"));
        assert!(error("learner").contains("no port"));
    }
}
