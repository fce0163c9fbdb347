//! What stands in a learner's place until an actor has told the shape of its environment (`--accept-spec`): a server that takes nobody.
//! An actor that has the environment tells its shape when it registers, and is asked to come again; so is everybody else.

use super::peers::connection::watch_over;
use super::peers::{Peers, Sizes, now};
use super::registry::RegisterError;
use super::server::{self, Keepalive, incoming};
use super::{Messages, printable, register_status};
use anyhow::Context;
use impala_common::agreement::PROTOCOL_VERSION;
use impala_common::process::handles;
use impala_common::wire::{Registration, pb};
use impala_env::spec::{EnvironmentName, EnvironmentSpec};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};

/// Time that answers on their way have once the shape is known.
const GRACE: Duration = Duration::from_secs(1);

/// What an actor told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The environment, whose numbers are within their bounds.
    pub spec: EnvironmentSpec,
    /// The actor, as it calls itself; fit to be printed.
    pub actor: String,
}

/// Waits on this listener for an actor that has the environment of this name.
///
/// # Errors
/// The server broke.
pub async fn wait_for(name: &EnvironmentName, listener: TcpListener) -> anyhow::Result<Told> {
    let (told, mut heard) = mpsc::channel(1);
    let peers = Peers::new(Sizes { window: 0, weights: 0 }, handles::allow_most(), now());
    let connecting = peers.clone();
    let connections = incoming(listener).then(move |socket| {
        let peers = connecting.clone();
        async move { server::connect(socket, &peers).await }
    });
    let waiting = pb::learner_server::LearnerServer::new(Waiting { name: name.clone(), told });
    // To probes it is a learner that waits for actors.
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<pb::learner_server::LearnerServer<Waiting>>().await;
    let stop = CancellationToken::new();
    let router =
        server::builder::<TcpConnectInfo>(Keepalive::default(), 0).add_service(waiting).add_service(health_service);
    let serving = router.serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    tokio::pin!(serving);
    let told = tokio::select! {
        told = heard.recv() => told,
        ended = &mut serving => return Err(ended.err().map_or_else(|| anyhow::anyhow!("its server ended"), Into::into)),
        never = watch_over(&peers) => match never {},
    };
    stop.cancel();
    let _ = tokio::time::timeout(GRACE, serving).await;
    told.context("the server hears nobody any more")
}

struct Waiting {
    name: EnvironmentName,
    told: mpsc::Sender<Told>,
}

fn not_yet() -> Status {
    Status::unavailable("the learner waits for its first actor: ask again")
}

#[tonic::async_trait]
impl pb::learner_server::Learner for Waiting {
    type PushTrajectoriesStream = Messages<pb::PushReply>;
    type WatchWeightsStream = Messages<pb::Snapshot>;

    async fn register(&self, request: Request<pb::RegisterRequest>) -> Result<Response<pb::RegisterReply>, Status> {
        let registration = Registration::from(request.into_inner());
        if registration.protocol_version != PROTOCOL_VERSION {
            let (actor, learner) = (registration.protocol_version, PROTOCOL_VERSION);
            return Err(register_status(&RegisterError::Protocol { actor, learner }));
        }
        let Self { name, told } = self;
        let Some(spec) = registration.environments.iter().find(|spec| spec.name == name.as_str()) else {
            let offered: Vec<_> = registration.environments.iter().map(ToString::to_string).collect();
            let offered = offered.join(", ");
            return Err(Status::failed_precondition(format!(
                "the learner waits for an actor that has {name}, this one offers {offered}"
            )));
        };
        if let Err(error) = spec.validate() {
            return Err(Status::invalid_argument(format!("the actor's {name}: {error}")));
        }
        // The first one counts.
        let _ = told.try_send(Told { spec: spec.clone(), actor: printable(&registration.actor_name) });
        Err(Status::unavailable(format!("the learner comes up with what an actor has told of {name}: ask again")))
    }

    async fn push_trajectories(
        &self,
        _: Request<Streaming<pb::PushRequest>>,
    ) -> Result<Response<Self::PushTrajectoriesStream>, Status> {
        Err(not_yet())
    }

    async fn watch_weights(&self, _: Request<pb::WatchRequest>) -> Result<Response<Self::WatchWeightsStream>, Status> {
        Err(not_yet())
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        Err(not_yet())
    }

    async fn get_model(&self, _: Request<pb::GetModelRequest>) -> Result<Response<pb::GetModelReply>, Status> {
        Err(not_yet())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::channel::client;
    use impala_common::ids::{Incarnation, Sequence};
    use impala_common::snapshot::Encoding;
    use impala_env::builtin;
    use tonic::Code;
    use tonic::transport::Endpoint;

    fn registration(specs: Vec<EnvironmentSpec>) -> Registration {
        Registration {
            protocol_version: PROTOCOL_VERSION,
            actor_name: "a\u{1b}[2J".into(),
            incarnation: Incarnation(1),
            actor_index: None,
            produced: Sequence(0),
            environments: specs,
            encodings: Encoding::ALL.to_vec(),
            weights_in_receipts: true,
            stored_payloads: true,
            evaluates: true,
        }
    }

    #[tokio::test]
    async fn the_first_actor_that_has_the_environment_is_believed_and_asked_to_come_again() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let name: EnvironmentName = "mine-v0".parse().unwrap();
        let asking = async {
            let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
            for service in ["", "impala.v1.Learner"] {
                let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
                let told = health.check(request).await.unwrap().into_inner();
                assert_eq!(told.status(), tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
            }
            let mut client = client::learner(channel);
            let early = client.status(pb::StatusRequest {}).await.unwrap_err();
            assert_eq!(early.code(), Code::Unavailable, "{early}");
            let mut register = async |registration: Registration| {
                client.register(pb::RegisterRequest::from(registration)).await.unwrap_err()
            };
            let old = register(Registration { protocol_version: 2, ..registration(vec![]) }).await;
            assert!(old.code() == Code::FailedPrecondition && old.message().contains("protocol version 2"), "{old}");
            let other = register(registration(vec![builtin().kinds()[0].spec().clone()])).await;
            assert_eq!(other.code(), Code::FailedPrecondition);
            assert!(other.message().contains("has mine-v0, this one offers cartpole-v1 (observations"), "{other}");
            let absurd = register(registration(vec![EnvironmentSpec::new("mine-v0", 0.into(), 2.into())])).await;
            assert!(
                absurd.code() == Code::InvalidArgument && absurd.message().contains("observation_len = 0"),
                "{absurd}"
            );
            let known = register(registration(vec![EnvironmentSpec::new("mine-v0", 3.into(), 2.into())])).await;
            assert!(known.code() == Code::Unavailable && known.message().contains("ask again"), "{known}");
        };
        let (told, ()) = tokio::join!(wait_for(&name, listener), asking);
        let told = told.unwrap();
        assert_eq!(told.spec, EnvironmentSpec::new("mine-v0", 3.into(), 2.into()));
        assert!(!told.actor.contains('\u{1b}'), "{}", told.actor);
    }
}
