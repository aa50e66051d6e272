//! One connection, from its first byte to its last.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::amqp::performative::{
    self, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN, TRANSFER,
};
use crate::amqp::{Frame, Kind, frame};
use crate::namespace::{Counters, Namespace};
use crate::out::{self, Out};
use crate::session::{End, INCOMING_WINDOW, Session, Shared};

const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";

/// The time to write the remaining frames when a connection ends.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection until one side ends it.
pub(crate) async fn serve(stream: TcpStream, namespace: Arc<Namespace>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    Counters::count(&namespace.counters.connections);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(256 * 1024, read);
    let mut header = [0; 8];
    read.read_exact(&mut header).await?;
    if header == SASL_HEADER {
        write.write_all(&SASL_HEADER).await?;
        let mechanisms = performative::sasl_mechanisms();
        write.write_all(&frame::write(Kind::Sasl, 0, Some(&mechanisms), &[])).await?;
        // Any mechanism is accepted: authorization is by token, later.
        frame::read(&mut read).await?;
        let outcome = performative::sasl_ok();
        write.write_all(&frame::write(Kind::Sasl, 0, Some(&outcome), &[])).await?;
        read.read_exact(&mut header).await?;
    }
    if header != AMQP_HEADER {
        return write.write_all(&SASL_HEADER).await;
    }
    write.write_all(&AMQP_HEADER).await?;

    let (out, queue) = Out::new(Arc::clone(&namespace));
    let mut writer = JoinSet::new();
    writer.spawn(out::write(write, queue));
    let shared = Shared {
        namespace,
        out,
        grants: Vec::new(),
        tasks: JoinSet::new(),
        peer_frame_bytes_max: 512,
    };
    let mut connection = Connection { shared, sessions: HashMap::new() };
    let end = loop {
        let Ok(frame) = frame::read(&mut read).await else { break End::Cut };
        if let Err(end) = connection.take(frame).await {
            break end;
        }
    };
    connection.end(end, writer).await;
    Ok(())
}

struct Connection {
    shared: Shared,
    sessions: HashMap<u16, Session>,
}

impl Connection {
    async fn take(&mut self, frame: Frame) -> Result<(), End> {
        let Frame { channel, performative: Some(performative), payload } = frame else {
            return Ok(());
        };
        let shared = &mut self.shared;
        match performative.code {
            OPEN => {
                let bytes_max = performative.field(2).uint().unwrap_or(u32::MAX);
                shared.peer_frame_bytes_max =
                    bytes_max.min(frame::FRAME_BYTES_MAX).try_into().unwrap_or(512);
                let open = performative::open("eventhubs-local", frame::FRAME_BYTES_MAX);
                return Ok(shared.out.send(0, &open).await?);
            }
            BEGIN => {
                self.sessions.insert(channel, Session::new(channel, &performative));
                // Channels are given the number that the client gave them.
                let begin = performative::begin(channel, INCOMING_WINDOW);
                return Ok(shared.out.send(channel, &begin).await?);
            }
            CLOSE => return Err(End::Close(None)),
            END => {
                if let Some(session) = self.sessions.remove(&channel) {
                    session.end();
                    shared.out.send(channel, &performative::end()).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(&channel) else { return Ok(()) };
        match performative.code {
            ATTACH => session.attach(shared, &performative).await,
            FLOW => session.take_flow(shared, &performative).await,
            TRANSFER => session.take_transfer(shared, &performative, payload).await,
            DETACH => session.detach(shared, &performative).await,
            // The outcome at a consumer has no effect: no event is sent again.
            DISPOSITION => Ok(()),
            other => {
                tracing::debug!(code = other, "ignored a performative");
                Ok(())
            }
        }
    }

    async fn end(self, end: End, mut writer: JoinSet<io::Result<()>>) {
        if let End::Close(failure) = &end {
            // If sending fails, the client has disconnected already.
            drop(self.shared.out.send(0, &performative::close(failure.as_ref())).await);
            let Self { shared, .. } = self;
            let Shared { out, mut tasks, .. } = shared;
            tasks.shutdown().await;
            drop(out);
            drop(timeout(LINGER, writer.join_next()).await);
        }
    }
}
