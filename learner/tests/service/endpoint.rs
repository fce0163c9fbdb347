//! The port: who listens, what else answers there, and what does not harm it.

use impala_harness::patience::within;
use impala_harness::test_learner::{TestLearner, bind, given, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

const SERVICE: &str = "impala.v1.Learner";
const HEALTH: &str = "grpc.health.v1.Health";

async fn health(client: &mut HealthClient<tonic::transport::Channel>, service: &str) -> ServingStatus {
    let check = client.check(HealthCheckRequest { service: service.into() });
    within("the health check", check).await.unwrap().into_inner().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_whether_the_learner_takes_actors() {
    let learner = TestLearner::start(settings()).await;
    let mut client = HealthClient::new(learner.channel().await);
    for service in ["", SERVICE, "impala.v1.Training"] {
        assert_eq!(health(&mut client, service).await, ServingStatus::Serving, "`{service}`");
    }
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    learner.request_stop();
    // By the time that actors hear of the end, probes have long been told: the drain comes second.
    actor.finish().await;
    for service in [SERVICE, "impala.v1.Training"] {
        assert_eq!(health(&mut client, service).await, ServingStatus::NotServing, "`{service}`");
    }
    assert_eq!(health(&mut client, "").await, ServingStatus::Serving, "the process still lives");
    actor.leave().await;
    learner.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_and_describes_the_service() {
    let learner = TestLearner::start(settings()).await;
    let mut client = ServerReflectionClient::new(learner.channel().await);
    let questions = [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(SERVICE.into())];
    let questions = questions.map(|q| ServerReflectionRequest { host: String::new(), message_request: Some(q) });
    let asking = client.server_reflection_info(tokio_stream::iter(questions));
    let mut answers = within("reflection", asking).await.unwrap().into_inner();
    let mut answer = async || within("an answer", answers.message()).await.unwrap().unwrap().message_response.unwrap();

    let MessageResponse::ListServicesResponse(list) = answer().await else { panic!("expected a list of services") };
    for name in [SERVICE, HEALTH] {
        assert!(list.service.iter().any(|service| service.name == name), "{list:?}");
    }
    let MessageResponse::FileDescriptorResponse(files) = answer().await else { panic!("expected a description") };
    let describes = |file: &Vec<u8>| file.windows(16).any(|bytes| bytes == b"PushTrajectories");
    assert!(files.file_descriptor_proto.iter().any(describes));

    // What common clients still ask.
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(learner.channel().await);
    let message_request = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let question = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let asking = client.server_reflection_info(tokio_stream::iter([question]));
    let mut answers = within("reflection", asking).await.unwrap().into_inner();
    let answer = within("an answer", answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("expected a list of services")
    };
    for name in [SERVICE, HEALTH] {
        assert!(list.service.iter().any(|service| service.name == name), "{list:?}");
    }
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_together_with_the_flag_that_changes_it() {
    let learner = TestLearner::start(settings()).await;
    let (second, _, _runs) = bind(given(&format!("listen = \"{}\"", learner.address), settings())).await;
    let message = format!("{:#}", second.unwrap_err());
    assert!(message.contains(&learner.address.to_string()) && message.contains("--listen"), "{message}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_ends_its_own_connection_only() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let preface_and_noise = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![0xa5; 4096]].concat();
    for bytes in [get, vec![0xa5; 4096], preface_and_noise] {
        let mut socket = within("connecting", TcpStream::connect(learner.address)).await.unwrap();
        within("sending", socket.write_all(&bytes)).await.unwrap();
        // The learner hangs up: an end or a reset, with or without a parting word.
        let mut answer = Vec::new();
        let _ = within("the end of the connection", socket.read_to_end(&mut answer)).await;
        actor.train(0).await;
    }
    actor.leave().await;
    assert_eq!(learner.stop().await.trained, 4);
}
