//! Frames on the wire (OASIS AMQP 1.0, part 2.3).

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::performative::Performative;
use super::value::Value;

/// The largest frame that is accepted, as the service announces it.
pub(crate) const FRAME_BYTES_MAX: u32 = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Amqp,
    Sasl,
}

/// A received frame; without a performative it is a heartbeat.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) channel: u16,
    pub(crate) performative: Option<Performative>,
    pub(crate) payload: Bytes,
}

/// Reads one frame. Invalid bytes end the connection, so there is one kind of error.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0_u8; 8];
    stream.read_exact(&mut head).await?;
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let extended = u32::from(head[4]) * 4;
    if size > FRAME_BYTES_MAX || extended < 8 || size < extended {
        return Err(invalid("frame has an impossible size"));
    }
    let mut body = vec![0; (size - 8) as usize];
    stream.read_exact(&mut body).await?;
    let mut rest = &body[(extended - 8) as usize..];
    let performative = match rest {
        [] => None,
        _ => Some(Performative::decode(&mut rest).map_err(invalid)?),
    };
    let payload_at = body.len() - rest.len();
    let payload = Bytes::from(body).slice(payload_at..);
    Ok(Frame { channel: u16::from_be_bytes([head[6], head[7]]), performative, payload })
}

/// The bytes of one frame.
pub(crate) fn write(
    kind: Kind,
    channel: u16,
    performative: Option<&Value>,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 2, u8::from(kind == Kind::Sasl)];
    out.extend(channel.to_be_bytes());
    if let Some(performative) = performative {
        performative.encode(&mut out);
    }
    out.extend(payload);
    let size = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

pub(crate) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
