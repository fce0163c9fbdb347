//! What a learner does about peers that are up to no good: they are closed, refused or slowed, and nobody else notices. The real
//! service behind pipes in memory, with a clock that the tests move.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use impala_common::wire::pb;
use impala_env::builtin;
use impala_harness::fake_actor::registration;
use impala_harness::simulation::learner::start;
use impala_harness::test_learner::{given, settings};
use impala_learner::app::{self, Keepalive};
use impala_learner::config::Config;
use prost::Message;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Bytes that a pipe holds.
const PIPE: usize = 1 << 16;
const DEADLINE_EXCEEDED: &str = "4";
const RESOURCE_EXHAUSTED: &str = "8";

/// A learner that is reached by pipes.
struct Learner {
    connections: mpsc::Sender<io::Result<DuplexStream>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Learner {
    fn start(settings_toml: &str) -> Self {
        let config = Config::resolve(given(settings_toml, settings()), None, &builtin()).unwrap();
        let shared = start(&config, Default::default());
        let (connections, incoming) = mpsc::channel(1);
        let stop = CancellationToken::new();
        app::serve(ReceiverStream::new(incoming), shared, Keepalive::default(), stop.clone()).unwrap();
        Self { connections, _stop: stop.drop_guard() }
    }

    async fn pipe(&self) -> DuplexStream {
        let (here, there) = tokio::io::duplex(PIPE);
        self.connections.send(Ok(there)).await.unwrap();
        here
    }

    /// A connection of HTTP/2, and what becomes of it.
    async fn connect(&self, builder: &Builder) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
        let (sender, connection) = builder.handshake(self.pipe().await).await.unwrap();
        (sender, tokio::spawn(connection))
    }
}

fn request(method: &str) -> http::Request<()> {
    let uri = format!("http://learner/impala.v1.Learner/{method}");
    http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Begins a call; sends what it is to send of the message, and whether that is all.
async fn call(
    connection: &SendRequest<Bytes>,
    method: &str,
    data: Bytes,
    is_all: bool,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let mut connection = connection.clone().ready().await.unwrap();
    let (answer, mut body) = connection.send_request(request(method), false).unwrap();
    body.send_data(data, is_all).unwrap();
    (answer, body)
}

/// The gRPC status of an answer, and its message.
async fn status(answer: ResponseFuture) -> (String, Bytes) {
    let answer = answer.await.unwrap();
    if let Some(status) = answer.headers().get("grpc-status") {
        return (status.to_str().unwrap().to_owned(), Bytes::new());
    }
    let mut body = answer.into_body();
    let message = read(&mut body).await;
    let trailers = body.trailers().await.unwrap().unwrap();
    (trailers["grpc-status"].to_str().unwrap().to_owned(), message)
}

async fn read(body: &mut RecvStream) -> Bytes {
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        message.extend_from_slice(&data);
    }
    message.freeze()
}

async fn register(connection: &SendRequest<Bytes>, name: &str, incarnation: u64) -> pb::RegisterReply {
    let (answer, _) = call(connection, "Register", framed(&registration(name, incarnation)), true).await;
    let (code, message) = status(answer).await;
    assert_eq!(code, "0");
    pb::RegisterReply::decode(&message[5..]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn half_a_preface_is_not_waited_for() {
    let learner = Learner::start("");
    let mut pipe = learner.pipe().await;
    pipe.write_all(b"PRI * HTT").await.unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = pipe.read_to_end(&mut rest).await;
    assert!((10..=12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_for_nothing_is_closed_and_one_with_an_open_stream_stays() {
    let learner = Learner::start("");
    let (idle, idle_end) = learner.connect(&Builder::new()).await;
    let (actor, actor_end) = learner.connect(&Builder::new()).await;
    register(&idle, "idle", 1).await;
    let reply = register(&actor, "actor", 2).await;
    let (weights, _) = call(&actor, "WatchWeights", framed(&pb::WatchRequest { session: reply.session }), true).await;
    let mut weights = weights.await.unwrap().into_body();
    assert!(weights.data().await.unwrap().unwrap().len() > 5);
    let began = Instant::now();
    let _ = idle_end.await.unwrap();
    assert!((60..=62).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(!actor_end.is_finished());
    register(&actor, "actor", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_or_is_too_large_is_refused() {
    let learner = Learner::start("");
    let (connection, _end) = learner.connect(&Builder::new()).await;
    let sound = framed(&registration("slow", 1));
    let began = Instant::now();
    let (unfinished, _body) = call(&connection, "Register", sound.slice(..20), false).await;
    assert_eq!(status(unfinished).await.0, DEADLINE_EXCEEDED);
    assert_eq!(began.elapsed().as_secs(), 10);
    let large = pb::RegisterRequest { actor_name: "x".repeat(60_000), ..registration("", 1) };
    let (answer, mut body) = call(&connection, "Register", framed(&large), false).await;
    body.send_data(vec![0; 10_000].into(), true).unwrap();
    assert_eq!(status(answer).await.0, RESOURCE_EXHAUSTED);
    register(&connection, "sound", 3).await;
}

#[tokio::test(start_paused = true)]
async fn open_requests_are_bounded_and_the_next_one_is_told_so() {
    let learner = Learner::start("");
    let (connection, _end) = learner.connect(&Builder::new()).await;
    let mut open = Vec::new();
    for _ in 0..512 {
        open.push(call(&connection, "Status", Bytes::from_static(&[0]), false).await);
    }
    let (one_more, _) = call(&connection, "Status", framed(&pb::StatusRequest {}), true).await;
    assert_eq!(status(one_more).await.0, RESOURCE_EXHAUSTED);
    // Another connection has places of its own.
    let (other, _end) = learner.connect(&Builder::new()).await;
    register(&other, "other", 1).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_the_model_loses_the_connection_and_others_get_it() {
    // 4.2 million parameters: two such models go out at a time.
    let learner = Learner::start("hidden = [2048, 2048]");
    let mut blind = Builder::new();
    blind.initial_window_size(0);
    let mut unread = Vec::new();
    for _ in 0..4 {
        let (connection, end) = learner.connect(&blind).await;
        unread.push((call(&connection, "GetModel", framed(&pb::GetModelRequest {}), true).await, connection, end));
    }
    let mut reader = Builder::new();
    reader.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let (connection, _end) = learner.connect(&reader).await;
    let (answer, _) = call(&connection, "GetModel", framed(&pb::GetModelRequest {}), true).await;
    let began = Instant::now();
    let (code, model) = status(answer).await;
    assert_eq!(code, "0");
    let model = pb::GetModelReply::decode(&model[5..]).unwrap();
    assert!(model.snapshot.unwrap().parameter_count > 4_000_000);
    // Two lots of two had their time before it.
    assert!((20..=70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let closed = unread.iter().filter(|(_, _, end)| end.is_finished()).count();
    assert!(closed >= 4, "{closed}");
}
