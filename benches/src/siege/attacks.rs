//! What peers can do that are up to no good, as fast as they can: each attack goes on until it is dropped.

use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use impala_common::agreement::PROTOCOL_VERSION;
use impala_common::wire::pb;
use prost::Message;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Pause of an attacker that was turned away before it tries again.
const PAUSE: Duration = Duration::from_millis(10);

/// Where a learner is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its gRPC port.
    pub grpc: SocketAddr,
    /// Its metrics port.
    pub metrics: SocketAddr,
}

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// 128 callers on 8 connections register, as someone new each time.
    Registrations,
    /// 50 sessions read every version of the weights and send nothing.
    Readers,
    /// 8 connections send HTTP/2 pings without pause.
    Pings,
    /// 8 connections send HTTP/2 settings without pause.
    Settings,
    /// 8 connections ask for the status without pause.
    Status,
    /// 8 connections ask for the metrics without pause.
    Metrics,
    /// 64 callers connect and hang up.
    Connections,
    /// 20,000 calls with headers of 15 KB on each of 4 connections, none of which is finished.
    OpenCalls,
    /// 2,000 connections that send half a preface.
    HalfPrefaces,
    /// 200 calls for the model and 200 streams of weights, none of which is read.
    UnreadWeights,
}

impl Attack {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is after memory, not time.
    pub fn is_after_memory(self) -> bool {
        matches!(self, Self::OpenCalls | Self::HalfPrefaces | Self::UnreadWeights)
    }

    /// Goes on until it is dropped.
    pub async fn carry_out(self, target: Target) {
        match self {
            Self::Registrations => many(128, 8, target, register_for_ever).await,
            Self::Readers => many(50, 50, target, read_weights).await,
            Self::Status => many(128, 8, target, ask_for_status).await,
            // A ping, and settings that change nothing.
            Self::Pings => swarm(8, move || flood(target.grpc, block(6, &[0; 8]))).await,
            Self::Settings => swarm(8, move || flood(target.grpc, block(4, &[]))).await,
            Self::Metrics => swarm(8, move || scrape(target.metrics)).await,
            Self::Connections => swarm(64, move || hang_up(target.grpc)).await,
            Self::OpenCalls => many(4, 4, target, |caller| open_calls(caller, 20_000)).await,
            Self::HalfPrefaces => half_prefaces(2000, target.grpc).await,
            Self::UnreadWeights => unread(8, target).await,
        }
    }
}

/// Someone with a connection, and a number of its own.
#[derive(Clone)]
struct Caller {
    number: u64,
    connection: SendRequest<Bytes>,
}

/// So many callers on so many connections; whoever is turned away comes back.
async fn many<F, A>(callers: u64, connections: u64, target: Target, attack: F)
where
    F: Fn(Caller) -> A + Copy + Send + 'static,
    A: Future<Output = Result<(), h2::Error>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        tasks.spawn(async move {
            loop {
                if let Some(connection) = open(target.grpc, &Builder::new()).await {
                    let mut together = JoinSet::new();
                    for caller in (number..callers).step_by(connections as usize) {
                        together.spawn(attack(Caller { number: caller, connection: connection.clone() }));
                    }
                    together.join_all().await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn open(address: SocketAddr, builder: &Builder) -> Option<SendRequest<Bytes>> {
    let socket = TcpStream::connect(address).await.ok()?;
    let (sender, connection) = builder.handshake(socket).await.ok()?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Some(sender)
}

fn request(method: &str, filler: usize) -> http::Request<()> {
    let request = http::Request::post(format!("http://learner/impala.v1.Learner/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-filler", "x".repeat(filler));
    request.body(()).expect("the parts are sound")
}

fn message(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let mut bytes = BytesMut::with_capacity(5 + body.len());
    bytes.extend_from_slice(&[0]);
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

impl Caller {
    /// Calls a method; gives the body of the answer.
    async fn call(&mut self, method: &str, message: Bytes) -> Result<RecvStream, h2::Error> {
        self.connection = self.connection.clone().ready().await?;
        let (answer, mut body) = self.connection.send_request(request(method, 0), false)?;
        body.send_data(message, true)?;
        Ok(answer.await?.into_body())
    }

    async fn register(&mut self, incarnation: u64) -> Result<Bytes, h2::Error> {
        let environment = impala_env::builtin().kinds()[0].spec().clone();
        let request = pb::RegisterRequest {
            protocol_version: PROTOCOL_VERSION,
            actor_name: format!("siege-{}-{incarnation}", self.number),
            incarnation,
            environments: vec![environment.into()],
            encodings: vec![pb::Encoding::F32.into()],
            ..pb::RegisterRequest::default()
        };
        let mut body = self.call("Register", message(&request)).await?;
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            answer.extend_from_slice(&data);
        }
        Ok(answer.freeze())
    }
}

async fn register_for_ever(mut caller: Caller) -> Result<(), h2::Error> {
    for n in 1.. {
        caller.register(rand::random::<u64>().max(n)).await?;
    }
    Ok(())
}

async fn ask_for_status(mut caller: Caller) -> Result<(), h2::Error> {
    loop {
        let mut body = caller.call("Status", message(&pb::StatusRequest {})).await?;
        while body.data().await.transpose()?.is_some() {}
    }
}

async fn read_weights(mut caller: Caller) -> Result<(), h2::Error> {
    let answer = caller.register(rand::random()).await?;
    let reply = answer.get(5..).and_then(|message| pb::RegisterReply::decode(message).ok());
    let Some(reply) = reply else { return Ok(()) };
    let mut body = caller.call("WatchWeights", message(&pb::WatchRequest { session: reply.session })).await?;
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(())
}

/// A frame of HTTP/2 of a type, of no stream, without flags.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}

/// As many of such frames as are sent at once.
fn block(kind: u8, payload: &[u8]) -> Bytes {
    let frame = frame(kind, payload);
    frame.repeat(65_536 / frame.len()).into()
}

/// So many that do something again and again.
async fn swarm<F, A>(count: u64, act: F)
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = io::Result<()>> + Send,
{
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let act = act.clone();
        tasks.spawn(async move {
            loop {
                if act().await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    tasks.join_all().await;
}

/// One frame again and again; what is answered is thrown away.
async fn flood(address: SocketAddr, frames: Bytes) -> io::Result<()> {
    let (mut reading, mut writing) = TcpStream::connect(address).await?.into_split();
    let answers = async move {
        let mut buffer = vec![0; 1 << 16];
        while reading.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, &[])].concat();
    let flood = async {
        writing.write_all(&preface).await?;
        loop {
            writing.write_all(&frames).await?;
        }
    };
    tokio::join!(answers, flood).1
}

async fn hang_up(address: SocketAddr) -> io::Result<()> {
    TcpStream::connect(address).await.map(drop)
}

async fn scrape(address: SocketAddr) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: learner\r\n\r\n").await?;
        // The answer comes in one read or two; what is left of it is read with the next.
        if socket.read(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn open_calls(mut caller: Caller, count: usize) -> Result<(), h2::Error> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        caller.connection = caller.connection.clone().ready().await?;
        open.push(caller.connection.send_request(request("Register", 15_000), false)?);
    }
    std::future::pending::<()>().await;
    Ok(())
}

async fn half_prefaces(count: u64, address: SocketAddr) {
    let mut open = Vec::new();
    for _ in 0..count {
        if let Ok(mut socket) = TcpStream::connect(address).await {
            let _ = socket.write_all(b"PRI * HTT").await;
            open.push(socket);
        }
    }
    std::future::pending::<()>().await;
}

/// Asks for models and weights with windows of nothing.
async fn unread(connections: u64, target: Target) {
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let mut open_calls = Vec::new();
    for number in 0..connections {
        let Some(connection) = open(target.grpc, &builder).await else { continue };
        for _ in 0..25 {
            let Ok(mut ready) = connection.clone().ready().await else { continue };
            if let Ok((answer, mut body)) = ready.send_request(request("GetModel", 0), false) {
                let _ = body.send_data(message(&pb::GetModelRequest {}), true);
                open_calls.push(answer);
            }
        }
        // Registering is an answer that is read, on a connection of its own.
        let Some(reading) = open(target.grpc, &Builder::new()).await else { continue };
        for n in 0..25 {
            let mut caller = Caller { number: number * 25 + n, connection: reading.clone() };
            let Ok(answer) = caller.register(rand::random()).await else { continue };
            let Some(reply) = answer.get(5..).and_then(|message| pb::RegisterReply::decode(message).ok()) else {
                continue;
            };
            let Ok(mut ready) = connection.clone().ready().await else { continue };
            if let Ok((answer, mut body)) = ready.send_request(request("WatchWeights", 0), false) {
                let _ = body.send_data(message(&pb::WatchRequest { session: reply.session }), true);
                open_calls.push(answer);
            }
        }
    }
    std::future::pending::<()>().await;
}
