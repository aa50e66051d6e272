//! Serves the admin address: one request per connection, each with a time limit. While more clients are
//! connected than are served at one time, each further one replaces another, so that none keeps out a probe.

use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Due, EventLog};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::request::{Page, RequestError, accepts_openmetrics, has_token, page};
use super::slots::{SLOTS, Slots};
use super::status_page::{POLICY, status_page};
use super::view::View;
use crate::config::LocalSecret;

/// Time limits for a whole connection, and for the head of its request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits for the head of a request: the smallest buffer that hyper accepts, and far more than a client
/// needs.
const HEAD_BYTES: usize = 8 * 1024;
const HEADERS: usize = 64;

/// Reads of the token at one time: a disk that hangs blocks a thread for each, and the state file needs
/// threads too.
const TOKEN_READS: usize = 4;

/// How often the counters are sampled for rates.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after an error of the listener, which mostly is a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

type PageResponse = Response<Full<Bytes>>;

/// What all connections share.
struct Server {
    view: View,
    /// Cancelling a token closes its connection.
    slots: Mutex<Slots<CancellationToken>>,
    token_reads: Arc<Semaphore>,
    /// Connections that were closed because there were too many.
    crowding: EventLog,
}

/// A connection that has a slot, until it is dropped.
struct Connection<'s> {
    server: &'s Server,
    number: u64,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.server.slots.lock().release(self.number);
    }
}

/// Serves until stopped.
pub(super) async fn serve(listener: TcpListener, view: View, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the admin address");
            return;
        }
    };
    let server = Arc::new(Server {
        view,
        slots: Mutex::default(),
        token_reads: Arc::new(Semaphore::new(TOKEN_READS)),
        crowding: EventLog::default(),
    });
    let mut tasks = JoinSet::new();
    let sampled = Arc::clone(&server);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(SAMPLE_INTERVAL).await;
            sampled.view.sample();
        }
    });
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        while tasks.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let closed = CancellationToken::new();
        let (number, replaced) = server.slots.lock().take(peer.ip(), closed.clone());
        if let Some((peer, connection)) = replaced {
            connection.cancel();
            server.log_crowding(peer);
        }
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            let connection = Connection { server: &server, number };
            let served = tokio::time::timeout(CONNECTION_TIMEOUT, connection.serve(stream));
            let done = closed.run_until_cancelled(served).await;
            if !matches!(done, Some(Ok(Ok(())))) {
                debug!("a connection to the admin address ended before its response was complete");
            }
        });
        // A connection that was closed is gone before the next one is accepted.
        tokio::task::yield_now().await;
    }
}

impl Server {
    fn log_crowding(&self, peer: IpAddr) {
        if let Some(Due { not_logged }) = self.crowding.due() {
            warn!(
                %peer,
                connections = SLOTS,
                not_logged,
                "too many connections to the admin address: one was closed for a newer one"
            );
        }
    }
}

impl Connection<'_> {
    async fn serve(&self, stream: TcpStream) -> hyper::Result<()> {
        let Ok(reached) = stream.local_addr() else { return Ok(()) };
        let service = service_fn(async |request| {
            self.server.slots.lock().asked(self.number);
            Ok::<_, Infallible>(respond(request, reached.ip(), self.server).await)
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }
}

async fn respond(request: Request<Incoming>, reached: IpAddr, server: &Server) -> PageResponse {
    let (request, body) = request.into_parts();
    let page = page_response(&request, !body.is_end_stream(), reached, server).await;
    let mut response = page.unwrap_or_else(error_response);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn page_response(
    request: &Parts,
    has_body: bool,
    reached: IpAddr,
    server: &Server,
) -> Result<PageResponse, RequestError> {
    let view = &server.view;
    let page = page(request, has_body, reached, &view.settings.hosts)?;
    if let Some(token) = view.settings.token.as_ref().filter(|_| page.needs_token()) {
        check_token(request, token, &server.token_reads).await?;
    }
    Ok(match page {
        Page::Home => {
            let mut response = with(StatusCode::OK, HTML, status_page(&view.status()));
            let policy = HeaderValue::from_static(POLICY);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Page::Metrics => match view.metrics(accepts_openmetrics(&request.headers)) {
            Ok((kind, body)) => with(StatusCode::OK, kind, body),
            Err(_) => with(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                "cannot encode the metrics\n".to_owned(),
            ),
        },
        Page::Live => {
            let alive = view.is_alive();
            json(if alive { StatusCode::OK } else { DOWN }, &serde_json::json!({ "alive": alive }))
        }
        Page::Ready => {
            let reasons = view.unready_reasons();
            let ready = reasons.is_empty();
            let body = serde_json::json!({ "ready": ready, "reasons": reasons });
            json(if ready { StatusCode::OK } else { DOWN }, &body)
        }
        Page::Status => json(StatusCode::OK, &view.status()),
    })
}

const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Reads the secret for each request, so that a new one is valid immediately. Rejects every request if it
/// cannot be read.
async fn check_token(
    request: &Parts,
    token: &LocalSecret,
    reads: &Arc<Semaphore>,
) -> Result<(), RequestError> {
    let token = token.clone();
    let turn = Arc::clone(reads).acquire_owned().await;
    // The file may be on a disk that hangs. A read holds its turn until it ends, also if the connection
    // is closed before.
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        token.read()
    });
    let token = read.await;
    match token {
        Ok(Ok(token)) if has_token(&request.headers, &token) => Ok(()),
        _ => Err(RequestError::Token),
    }
}

fn error_response(error: RequestError) -> PageResponse {
    let mut response = with(error.status(), TEXT, error.text().to_owned());
    match error {
        RequestError::Method => {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        RequestError::Token => {
            // A browser asks for a name and a password where it is offered the second scheme.
            for scheme in ["Bearer", "Basic realm=\"cosmos-bridge\""] {
                let scheme = HeaderValue::from_static(scheme);
                response.headers_mut().append(header::WWW_AUTHENTICATE, scheme);
            }
        }
        _ => {}
    }
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> PageResponse {
    match serde_json::to_string(value) {
        Ok(body) => with(status, "application/json", body + "\n"),
        Err(_) => {
            with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot encode the response\n".to_owned())
        }
    }
}

fn with(status: StatusCode, kind: &'static str, body: String) -> PageResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
