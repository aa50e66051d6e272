//! Answers at the admin address: one request per connection, and nobody takes long.

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
use tracing::debug;

use super::request::{Page, Refusal, brings, page, takes_openmetrics};
use super::view::View;
use crate::config::LocalSecret;
use tokio_util::sync::CancellationToken;

/// At once; others wait. Probes and a scraper or two are a handful.
const CONNECTIONS: usize = 32;

/// For one connection in all, and for the head of its request.
const CONNECTION: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(5);

/// Of a request's head: the least that the server takes, and far more than any that is meant.
const HEAD_BYTES: usize = 8 * 1024;
const HEADERS: usize = 64;

/// How often rates are measured.
const LOOK: Duration = Duration::from_secs(5);

/// After an error of the listener, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

type Answer = Response<Full<Bytes>>;

/// Answers until stopped.
pub(super) async fn serve(listener: TcpListener, view: View, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin address does not answer");
            return;
        }
    };
    let view = Arc::new(view);
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    let looking = Arc::clone(&view);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            looking.look();
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
            let done = tokio::time::timeout(CONNECTION, connection(stream, &view)).await;
            if !matches!(done, Ok(Ok(()))) {
                debug!("a connection to the admin address was cut off");
            }
        });
    }
}

async fn connection(stream: TcpStream, view: &View) -> hyper::Result<()> {
    let Ok(reached) = stream.local_addr() else { return Ok(()) };
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(request, reached.ip(), view).await));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: Request<Incoming>, reached: IpAddr, view: &View) -> Answer {
    let (request, body) = request.into_parts();
    let mut answer = match told(&request, !body.is_end_stream(), reached, view).await {
        Ok(answer) => answer,
        Err(refusal) => refused(refusal),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

async fn told(
    request: &Parts,
    has_body: bool,
    reached: IpAddr,
    view: &View,
) -> Result<Answer, Refusal> {
    let page = page(request, has_body, reached, &view.settings.hosts)?;
    if let Some(token) = view.settings.token.as_ref().filter(|_| page.needs_token()) {
        is_allowed(request, token).await?;
    }
    Ok(match page {
        Page::Metrics => match view.metrics(takes_openmetrics(&request.headers)) {
            Ok((kind, body)) => with(StatusCode::OK, kind, body),
            Err(_) => with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no metrics\n".to_owned()),
        },
        Page::Live => {
            let alive = view.is_alive();
            json(if alive { StatusCode::OK } else { DOWN }, &serde_json::json!({ "alive": alive }))
        }
        Page::Ready => {
            let reasons = view.reasons();
            let ready = reasons.is_empty();
            let body = serde_json::json!({ "ready": ready, "reasons": reasons });
            json(if ready { StatusCode::OK } else { DOWN }, &body)
        }
        Page::Status => json(StatusCode::OK, &view.status()),
    })
}

const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const TEXT: &str = "text/plain; charset=utf-8";

/// The secret is read each time, so that a new one holds at once. One that cannot be read lets
/// nobody in.
async fn is_allowed(request: &Parts, token: &LocalSecret) -> Result<(), Refusal> {
    let token = token.clone();
    // Files may be on a disk that does not answer.
    let token = tokio::task::spawn_blocking(move || token.read()).await;
    match token {
        Ok(Ok(token)) if brings(&request.headers, &token) => Ok(()),
        _ => Err(Refusal::Token),
    }
}

fn refused(refusal: Refusal) -> Answer {
    let mut answer = with(refusal.status(), TEXT, refusal.text().to_owned());
    match refusal {
        Refusal::Method => {
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Refusal::Token => {
            let scheme = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        _ => {}
    }
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => with(status, "application/json", body + "\n"),
        Err(_) => with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no JSON\n".to_owned()),
    }
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
