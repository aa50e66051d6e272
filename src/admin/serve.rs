//! Serves the admin address: one request per connection, each with a time limit.

use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::request::{Page, RequestError, accepts_openmetrics, has_token, page};
use super::view::View;
use crate::config::LocalSecret;

/// Parallel connections; further ones wait. Probes and scrapers need a handful.
const CONNECTIONS: usize = 32;

/// Time limits for a whole connection, and for the head of its request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits for the head of a request: the smallest buffer that hyper accepts, and far more than a client
/// needs.
const HEAD_BYTES: usize = 8 * 1024;
const HEADERS: usize = 64;

/// How often the counters are sampled for rates.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after an error of the listener, which mostly is a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

type PageResponse = Response<Full<Bytes>>;

/// Serves until stopped.
pub(super) async fn serve(listener: TcpListener, view: View, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the admin address");
            return;
        }
    };
    let view = Arc::new(view);
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    let sampled = Arc::clone(&view);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(SAMPLE_INTERVAL).await;
            sampled.sample();
        }
    });
    while let Some(accepted) = stop
        .run_until_cancelled(async {
            let turn = Arc::clone(&turns).acquire_owned().await;
            (turn, listener.accept().await)
        })
        .await
    {
        while tasks.try_join_next().is_some() {}
        let (Ok(turn), Ok((stream, _))) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let view = Arc::clone(&view);
        tasks.spawn(async move {
            let _turn = turn;
            let done = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, &view)).await;
            if !matches!(done, Ok(Ok(()))) {
                debug!("a connection to the admin address ended before its response was complete");
            }
        });
    }
}

async fn connection(stream: TcpStream, view: &View) -> hyper::Result<()> {
    let Ok(reached) = stream.local_addr() else { return Ok(()) };
    let service =
        service_fn(async |request| Ok::<_, Infallible>(respond(request, reached.ip(), view).await));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond(request: Request<Incoming>, reached: IpAddr, view: &View) -> PageResponse {
    let (request, body) = request.into_parts();
    let page = page_response(&request, !body.is_end_stream(), reached, view).await;
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
    view: &View,
) -> Result<PageResponse, RequestError> {
    let page = page(request, has_body, reached, &view.settings.hosts)?;
    if let Some(token) = view.settings.token.as_ref().filter(|_| page.needs_token()) {
        check_token(request, token).await?;
    }
    Ok(match page {
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

/// Reads the secret for each request, so that a new one is valid immediately. Rejects every request if it
/// cannot be read.
async fn check_token(request: &Parts, token: &LocalSecret) -> Result<(), RequestError> {
    let token = token.clone();
    // The file may be on a disk that hangs.
    let token = tokio::task::spawn_blocking(move || token.read()).await;
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
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
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
