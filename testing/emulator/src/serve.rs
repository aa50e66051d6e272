//! HTTP in front of the gateway: HTTP/1.1 and HTTP/2 with prior knowledge on one port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::answer::Answer;

/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 4096;

/// How long connections are given to finish when a server stops.
const DRAIN: Duration = Duration::from_millis(50);

/// What becomes of a request on the wire.
#[derive(Debug)]
pub enum Outcome {
    Answered(Answer),
    Truncated(Answer),
    Closed,
}

/// Something that answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The largest request body that is read, in bytes; larger ones close the connection.
    const BODY_BYTES_MAX: usize;

    /// Whether connections are taken; while they are not, nothing listens.
    fn open(&self) -> watch::Receiver<bool> {
        watch::channel(true).1
    }

    fn handle(
        &self,
        request: crate::request::Request,
        query: Option<String>,
    ) -> impl Future<Output = Outcome> + Send;
}

/// A listener and its connections, which end when this is stopped or dropped.
pub struct Server {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves a bound listener.
    #[allow(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
    pub fn start<H: Handler>(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        handler: Arc<H>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, tls, handler, stopped));
        Ok(Self { address, stop, task })
    }

    /// Closes the listener and every connection.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // A task that panicked has stopped as well.
        drop((&mut self.task).await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens while the handler is open, until it is stopped.
async fn accept<H: Handler>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<H>,
    mut stopped: watch::Receiver<bool>,
) {
    let address = listener.local_addr();
    let requests = Arc::new(Requests::default());
    let mut open = handler.open();
    let mut listener = Some(listener);
    loop {
        if let Some(listener) = listener.take() {
            let closed = async {
                // A sender that is gone never closes.
                if open.wait_for(|open| !open).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let ended = async {
                tokio::select! {
                    () = closed => true,
                    _ = stopped.changed() => false,
                }
            };
            if !accept_until(ended, listener, tls.as_ref(), &handler, &requests).await {
                break;
            }
        }
        tokio::select! {
            _ = open.wait_for(|open| *open) => {}
            _ = stopped.changed() => break,
        }
        match &address {
            Ok(address) => listener = TcpListener::bind(address).await.ok(),
            Err(_) => break,
        }
        if listener.is_none() {
            tokio::time::sleep(DRAIN).await;
        }
    }
    requests.stop().await;
}

/// Takes connections until the future ends, which then ends the connections; gives its value.
async fn accept_until<H: Handler>(
    ended: impl Future<Output = bool>,
    listener: TcpListener,
    tls: Option<&TlsAcceptor>,
    handler: &Arc<H>,
    requests: &Arc<Requests>,
) -> bool {
    let mut connections = JoinSet::new();
    let mut ended = std::pin::pin!(ended);
    let value = loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(DRAIN).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            value = &mut ended => break value,
        };
        // Without this, small answers wait for acknowledgements.
        drop(stream.set_nodelay(true));
        let (handler, requests) = (Arc::clone(handler), Arc::clone(requests));
        match tls {
            None => drop(connections.spawn(connection(stream, handler, requests))),
            Some(tls) => {
                let tls = tls.clone();
                connections.spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, handler, requests).await;
                    }
                });
            }
        }
    };
    drop(listener);
    connections.shutdown().await;
    value
}

/// Requests that are being handled. Each has a task of its own: the service executes a request that
/// it has received also when no client waits for the answer any more.
#[derive(Default)]
struct Requests(Mutex<JoinSet<()>>);

impl Requests {
    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome; none if the handler ended without one.
    async fn handle<H: Handler>(
        &self,
        handler: Arc<H>,
        request: crate::request::Request,
        query: Option<String>,
    ) -> Option<Outcome> {
        let (tell, outcome) = oneshot::channel();
        {
            let mut tasks = self.tasks();
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                // A client that is gone leaves no receiver.
                drop(tell.send(handler.handle(request, query).await));
            });
        }
        outcome.await.ok()
    }

    async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }
}

async fn connection<S, H>(stream: S, handler: Arc<H>, requests: Arc<Requests>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
        async move { answer(handler, &requests, request).await }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().keep_alive(true).header_read_timeout(None);
    builder
        .http2()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024);
    // A client that goes away, and a scripted fault, end a connection with an error.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

/// The error that makes hyper close a connection, or reset a stream, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is withheld")]
struct Withheld;

async fn answer<H: Handler>(
    handler: Arc<H>,
    requests: &Requests,
    request: hyper::Request<Incoming>,
) -> Result<Response<Payload>, Withheld> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, H::BODY_BYTES_MAX).collect().await else {
        return Err(Withheld);
    };
    let activity = head.headers.get("x-ms-activity-id").cloned();
    let query = head.uri.query().map(str::to_owned);
    let request =
        crate::request::Request::new(head.method, head.uri.path(), head.headers, body.to_bytes());
    let (answer, truncated) = match requests.handle(handler, request, query).await {
        None | Some(Outcome::Closed) => return Err(Withheld),
        Some(Outcome::Answered(answer)) => (answer, false),
        Some(Outcome::Truncated(answer)) => (answer, true),
    };
    let mut response = Response::builder()
        .status(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY));
    if !answer.intermediary {
        response = response
            .header("x-ms-request-charge", format!("{:.2}", answer.charge))
            .header("x-ms-gatewayversion", "version=2.14.0")
            .header("x-ms-serviceversion", "version=2.14.0.0");
    }
    if !answer.headers.iter().any(|(name, _)| *name == "content-type") {
        response = response.header("content-type", "application/json");
    }
    if let Some(substatus) = answer.substatus {
        response = response.header("x-ms-substatus", substatus);
    }
    if let Some(activity) = activity.filter(|_| !answer.intermediary) {
        response = response.header("x-ms-activity-id", activity);
    }
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Payload::new(answer.body, truncated)).map_err(|_| Withheld)
}

/// A body in one piece, or half of one and then an error.
struct Payload {
    rest: Option<Bytes>,
    announced: u64,
    broken: bool,
}

impl Payload {
    fn new(body: Bytes, truncated: bool) -> Self {
        let announced = body.len() as u64;
        let rest = if truncated { body.slice(..body.len() / 2) } else { body };
        Self { rest: Some(rest).filter(|rest| !rest.is_empty()), announced, broken: truncated }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        match self.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            None if self.broken => Poll::Ready(Some(Err(Withheld))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.rest.is_some() || self.broken { self.announced } else { 0 })
    }
}
