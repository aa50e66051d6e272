//! Requests the status of a running bridge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::report::StatusReport;
use crate::config::{Admin, LocalSecret, SecretError};
use crate::exit_code;

/// A running bridge responds within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Far more than the size of any status.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The status, as received and parsed.
pub struct StatusResponse {
    pub json: String,
    pub report: StatusReport,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("no bridge responds at {0}")]
    Silent(SocketAddr),
    #[error("cannot read the token of admin.token: {0}")]
    Token(#[from] SecretError),
    #[error("the bridge at {0} rejects the token")]
    Denied(SocketAddr),
    #[error("the response from {address} is not the status of a bridge of this version: {what}")]
    Other { address: SocketAddr, what: String },
}

impl StatusError {
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
                "Start the bridge with this configuration, and run this command on the same \
                 machine or in the same container."
            }
            Self::Token(error) => error.hint(),
            Self::Denied(_) => {
                "The running bridge uses another token than this configuration names."
            }
            Self::Other { .. } => {
                "Another process uses the address, or the bridge has another version."
            }
        }
    }
}

/// Requests the status of the bridge that runs with this configuration.
pub async fn fetch_status(admin: &Admin) -> Result<StatusResponse, StatusError> {
    let address = reachable(admin.address);
    let token = admin.token.as_ref().map(LocalSecret::read).transpose()?;
    let request = Request::get("/status").header(HOST, address.to_string());
    let mut request =
        request.body(Empty::<Bytes>::new()).map_err(|error| other(address, &error))?;
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| StatusError::Denied(address))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let response = timeout(TIMEOUT, exchange(address, request)).await;
    let (status, body) = response.map_err(|_| StatusError::Silent(address))??;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(StatusError::Denied(address)),
        status => return Err(other(address, &status)),
    }
    let json = String::from_utf8(body.to_vec()).map_err(|error| other(address, &error))?;
    let report = serde_json::from_str(&json).map_err(|error| other(address, &error))?;
    Ok(StatusResponse { json, report })
}

async fn exchange(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), StatusError> {
    let stream = TcpStream::connect(address).await.map_err(|_| StatusError::Silent(address))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| other(address, &error))?;
    let exchange = async {
        let response =
            sender.send_request(request).await.map_err(|error| other(address, &error))?;
        let (status, body) = (response.status(), response.into_body());
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|error| other(address, &error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    // The connection has to be polled while waiting for the response, and may end before that is read.
    tokio::select! {
        response = &mut exchange => return response,
        _ = connection => {}
    }
    exchange.await
}

/// The address to connect to: loopback if the bridge listens on every interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn other(address: SocketAddr, what: &dyn std::fmt::Display) -> StatusError {
    StatusError::Other { address, what: what.to_string() }
}
