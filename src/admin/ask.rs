//! Asks a running bridge for its status.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Report;
use crate::config::{Admin, LocalSecret, SecretError};
use crate::exit_code;

/// A bridge that is there answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Far more than any status.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// An answer, as it came and as it reads.
pub struct Asked {
    pub json: String,
    pub report: Report,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no bridge answers at {0}")]
    Silent(SocketAddr),
    #[error("the token of admin.token cannot be used: {0}")]
    Token(#[from] SecretError),
    #[error("the bridge at {0} refuses the token")]
    Denied(SocketAddr),
    #[error("what answers at {address} is no bridge of this version: {what}")]
    Other { address: SocketAddr, what: String },
}

impl AskError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Silent(_) => exit_code::UNREACHABLE,
            Self::Token(_) => exit_code::CONFIG,
            Self::Denied(_) => exit_code::DENIED,
            Self::Other { .. } => exit_code::FAILED,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Silent(_) => {
                "Start it with this configuration, and ask from the machine or container it runs on."
            }
            Self::Token(error) => error.hint(),
            Self::Denied(_) => "The bridge reads its token anew: this file names another one.",
            Self::Other { .. } => "Another process has the address, or another version runs.",
        }
    }
}

/// The status of the bridge that runs with this configuration.
pub async fn ask(admin: &Admin) -> Result<Asked, AskError> {
    let address = reachable(admin.address);
    let token = admin.token.as_ref().map(LocalSecret::read).transpose()?;
    let request = Request::get("/status").header(HOST, address.to_string());
    let mut request =
        request.body(Empty::<Bytes>::new()).map_err(|error| other(address, &error))?;
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| AskError::Denied(address))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answered = timeout(PATIENCE, exchange(address, request)).await;
    let (status, body) = answered.map_err(|_| AskError::Silent(address))??;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(AskError::Denied(address)),
        status => return Err(other(address, &status)),
    }
    let json = String::from_utf8(body.to_vec()).map_err(|error| other(address, &error))?;
    let report = serde_json::from_str(&json).map_err(|error| other(address, &error))?;
    Ok(Asked { json, report })
}

async fn exchange(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), AskError> {
    let stream = TcpStream::connect(address).await.map_err(|_| AskError::Silent(address))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| other(address, &error))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| other(address, &error))?;
        let (status, body) = (answer.status(), answer.into_body());
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body.map_err(|error| other(address, &error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    // The connection has to be driven while the answer is awaited, and may end before it is read.
    tokio::select! {
        answer = &mut exchange => return answer,
        _ = connection => {}
    }
    exchange.await
}

/// An address that means every interface is this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn other(address: SocketAddr, what: &dyn std::fmt::Display) -> AskError {
    AskError::Other { address, what: what.to_string() }
}
