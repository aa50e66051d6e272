//! Servers that replace brokers which cannot be installed: separate processes of this binary, so that their CPU time
//! is not counted.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cosmos_bridge_eventhubs_local::{LocalHubs, Options};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::Failure;

pub(crate) const HUB: &str = "orders";
pub(crate) const PARTITIONS: usize = 4;

/// The server of a process of this binary, which runs until its standard input ends.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Serve {
    /// A hub that keeps all events.
    Hub,
    /// A hub that keeps the last events only.
    ForgetfulHub,
    /// An HTTP endpoint.
    Endpoint,
}

/// A running server, stopped when this value is dropped.
pub(crate) struct StandIn {
    pub(crate) address: String,
    _child: Child,
}

impl StandIn {
    pub(crate) async fn start(serve: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", serve])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address).await?;
        Ok(Self { address: address.trim().to_owned(), _child: child })
    }
}

/// Serves until the process that started it has ended.
pub(crate) async fn serve(what: Serve) -> Result<(), Failure> {
    let (mut stdin, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    let gone = tokio::io::copy(&mut stdin, &mut nowhere);
    match what {
        Serve::Hub | Serve::ForgetfulHub => {
            let retained = if matches!(what, Serve::Hub) { usize::MAX } else { 1 };
            let options = Options { retained, ..Options::with_hub(HUB, PARTITIONS) };
            let hubs = LocalHubs::start(options).await?;
            writeln!(std::io::stdout(), "{}", hubs.connection_string(None))?;
            gone.await?;
            hubs.stop().await;
        }
        Serve::Endpoint => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
            tokio::select! {
                ended = accept(listener) => ended?,
                ended = gone => drop(ended?),
            }
        }
    }
    Ok(())
}

type Recorded = Arc<Mutex<Vec<Value>>>;

async fn accept(listener: TcpListener) -> Result<(), Failure> {
    let recorded = Recorded::default();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let recorded = Arc::clone(&recorded);
        connections.spawn(async move {
            let answer = service_fn(|request| answer(request, &recorded));
            // A client that disconnects is not an error.
            http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Accepts every event; those to `/recorded` are kept until they are read.
async fn answer(
    request: Request<Incoming>,
    recorded: &Recorded,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if head.uri.path() == "/recorded" {
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if head.method == Method::GET {
            *answer.status_mut() = StatusCode::OK;
            let all = Value::Array(std::mem::take(&mut *recorded)).to_string();
            *answer.body_mut() = Full::from(all);
        } else if head.method == Method::POST {
            let headers = head.headers.iter();
            let mut headers: Vec<_> =
                headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
            headers.sort();
            recorded.push(json!([headers, String::from_utf8_lossy(&body)]));
        }
    }
    Ok(answer)
}
