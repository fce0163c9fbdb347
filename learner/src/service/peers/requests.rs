//! The bounds of requests, as a layer around the service: how many are open, how large one may be that brings no trajectories, how
//! long one may take that is no stream, and that no answer goes out in larger pieces than its reader takes.

use super::connection::ConnectionInfo;
use super::peer::Call;
use super::turns::Turn;
use super::{Lasts, Peer, now};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Largest body of a request that brings no trajectories, bytes: a registration that names a thousand environments.
const BYTES_MAX: usize = 1 << 16;
/// Time in which such a request must have come.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Time after which it must be over, its answer read.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The same of a model, which waits for its turn; how fast it is to be read, the turn says.
const MODEL_MAX: Duration = Duration::from_secs(600);
/// Largest piece of an answer that waits for its reader, bytes: what is behind it is not copied out before.
const PIECE_MAX: usize = 1 << 18;

/// The call that brings trajectories, whose messages the service bounds by what was agreed.
const PUSH: &str = "/impala.v1.Learner/PushTrajectories";

/// What calls for descriptions of the service begin with. Their answers are a hundred times as long as the questions.
const DESCRIBE: &str = "/grpc.reflection.";
/// Such calls at a time, of all connections.
const DESCRIPTIONS_MAX: usize = 32;
/// What a byte of an answer costs that is no actor's: many are sent for few.
const ANSWER_COST: f64 = 0.25;

/// How long a call may be open.
fn lasts(path: &str) -> Lasts {
    match path {
        PUSH | "/impala.v1.Learner/WatchWeights" => Lasts::LikeItsSession,
        "/grpc.health.v1.Health/Watch" => Lasts::AsItsCallerWants,
        "/impala.v1.Learner/GetModel" => Lasts::AtMost(MODEL_MAX),
        _ => Lasts::AtMost(TIME_MAX),
    }
}

/// Puts [`Bounded`] around a service; `I` is what sockets tell of themselves.
#[derive(Clone, Debug)]
pub struct Bounds<I> {
    descriptions: Arc<Semaphore>,
    info: PhantomData<fn() -> I>,
}

impl<I> Default for Bounds<I> {
    fn default() -> Self {
        Self { descriptions: Arc::new(Semaphore::new(DESCRIPTIONS_MAX)), info: PhantomData }
    }
}

impl<S, I> Layer<S> for Bounds<I> {
    type Service = Bounded<S, I>;

    fn layer(&self, service: S) -> Self::Service {
        Bounded { service, descriptions: self.descriptions.clone(), info: PhantomData }
    }
}

/// A service within bounds.
#[derive(Clone, Debug)]
pub struct Bounded<S, I> {
    service: S,
    /// Places of requests for descriptions of the service.
    descriptions: Arc<Semaphore>,
    info: PhantomData<fn() -> I>,
}

impl<S, I> Service<http::Request<Body>> for Bounded<S, I>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    I: Clone + Send + Sync + 'static,
{
    type Response = http::Response<Answer>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let info = request.extensions_mut().remove::<ConnectionInfo<I>>();
        let ConnectionInfo { socket, peer } = info.expect("every connection is one of ours");
        let is_push = request.uri().path() == PUSH;
        let path = request.uri().path();
        let describing = path.starts_with(DESCRIBE).then(|| self.descriptions.clone().try_acquire_owned());
        let call = peer.ask(lasts(path), now());
        let (Some(call), Ok(describing)) = (call, describing.transpose()) else {
            let status = Status::resource_exhausted("too many requests are open: try again later");
            return Box::pin(std::future::ready(Ok(status.into_http().map(Answer::refusing))));
        };
        // Where the service looks for addresses.
        request.extensions_mut().insert(socket);
        request.extensions_mut().insert(peer);
        let request = if is_push { request } else { request.map(within_bounds) };
        let answering = self.service.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            let turn = response.extensions_mut().remove::<Arc<Turn>>();
            Ok(response.map(|body| Answer {
                body,
                rest: Bytes::new(),
                call: Some(call),
                _turn: turn,
                _describing: describing,
            }))
        })
    }
}

/// The peer that a request came from.
pub fn peer_of<T>(request: &tonic::Request<T>) -> Arc<Peer> {
    request.extensions().get::<Arc<Peer>>().expect("every request has one").clone()
}

/// A body that is small and comes in time, or fails.
fn within_bounds(body: Body) -> Body {
    Body::new(Timely { body: Limited::new(body, BYTES_MAX), until: Box::pin(tokio::time::sleep(ARRIVAL_MAX)) })
}

struct Timely {
    body: Limited<Body>,
    until: Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Timely {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| match error.downcast::<Status>() {
                    Ok(status) => *status,
                    Err(error) => {
                        Status::resource_exhausted(format!("a request of more than {BYTES_MAX} bytes: {error}"))
                    }
                })
            })),
            Poll::Pending => this.until.as_mut().poll(context).map(|()| {
                Some(Err(Status::deadline_exceeded(format!("the request did not end within {ARRIVAL_MAX:?}"))))
            }),
        }
    }
}

/// An answer on its way: in pieces, none of which is taken before its reader has room for it.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    rest: Bytes,
    call: Option<Call>,
    _turn: Option<Arc<Turn>>,
    _describing: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// The answer to a call that is not taken.
    fn refusing(body: Body) -> Self {
        Self { body, rest: Bytes::new(), call: None, _turn: None, _describing: None }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_MAX));
        if let Some(call) = this.call.as_ref().filter(|call| call.is_aside()) {
            call.peer().cost(piece.len() as f64 * ANSWER_COST, now());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.is_empty() {
            true => self.body.size_hint(),
            false => SizeHint::default(),
        }
    }
}
