//! One attempt: for each partition a chain of batches, until one has to wait.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Change, Class, Grouping, Limits, SharedConnection, Sink, SinkError, SinkErrorKind,
    Written,
};
use futures::stream::{self, StreamExt as _};

use crate::Settings;
use crate::batches::{ChainReport, send};
use crate::chain::{Chain, chains, key};
use crate::connection::Connection;
use crate::failure::Failure;

/// Bytes of documents in one write. This is four of the largest batches: several partitions are sent
/// to in parallel, and memory stays bounded.
const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Batches of one write that are in flight, each to another partition or of another key.
const BATCHES_IN_FLIGHT: usize = 64;

/// A hub.
pub struct EventHubsSink {
    name: String,
    settings: Settings,
    connection: SharedConnection<Connection, Failure>,
}

impl EventHubsSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        Self { name: name.into(), settings, connection: SharedConnection::default() }
    }

    /// The open connection with a valid token, or a new connection.
    async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        let access = &self.settings.access;
        let mut is_new = false;
        let open = async {
            is_new = true;
            let opened = Connection::open(&self.settings).await;
            opened.map_err(|failure| access.handle_refusal(failure))
        };
        let is_usable = |connection: &Connection| !connection.has_expired();
        let connection = Box::pin(self.connection.get(is_usable, open)).await?;
        if is_new {
            return Ok(connection);
        }
        match connection.keep_authorized(&self.settings).await {
            Ok(()) => Ok(connection),
            Err(failure) => {
                self.connection.forget(&connection).await;
                Err(access.handle_refusal(failure))
            }
        }
    }

    async fn run(&self, at: &Connection, changes: &[Change], chain: Chain) -> (Chain, ChainReport) {
        let mut report = send(&self.settings, at, changes, &chain).await;
        let access = &self.settings.access;
        report.failure = report.failure.map(|failure| access.handle_refusal(failure));
        (chain, report)
    }
}

fn unusable(settings: &Settings, failure: Failure) -> SinkError {
    let (kind, hint) = match failure.class {
        Class::FAULT => (failure.kind, settings.access.hint()),
        _ => (
            SinkErrorKind::Unreachable,
            "Check the address, and that it can be reached from this machine.",
        ),
    };
    let hint = Some(hint.to_owned());
    SinkError { message: failure.reason, hint, kind, source: None }
}

#[async_trait]
impl Sink for EventHubsSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            grouping: Grouping::Any,
            changes: self.settings.options.batch_changes,
            bytes: WRITE_BYTES,
            concurrency: self.settings.options.concurrency,
        }
    }

    async fn refusal(&self, change: &Change) -> Option<String> {
        key(&self.settings, change).err()
    }

    async fn check(&self) -> Result<(), SinkError> {
        let unusable = |failure| unusable(&self.settings, failure);
        let connection = self.connection().await.map_err(unusable)?;
        let hub = &self.settings.hub;
        let address = match self.settings.options.partition {
            Some(partition) => format!("{hub}/Partitions/{partition}"),
            None => hub.clone(),
        };
        if let Err(failure) = connection.link(&address).probe().await {
            self.connection.forget(&connection).await;
            return Err(unusable(self.settings.access.handle_refusal(failure)));
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(failure) => {
                failure.count(&mut answers);
                answers.defer_rest(&failure.reason, failure.wait());
                return answers.finish();
            }
        };
        let chains = chains(&self.settings, changes, &connection.partitions, &mut answers);
        for round in chains {
            let mut reports = stream::iter(round)
                .map(|chain| self.run(&connection, changes, chain))
                .buffer_unordered(BATCHES_IN_FLIGHT);
            let mut failures = Vec::new();
            while let Some((chain, report)) = reports.next().await {
                let numbers = chain.events.iter().map(|(number, _)| *number);
                failures.extend(report.add_to(&mut answers, numbers));
            }
            drop(reports);
            if failures.iter().any(|failure| failure.ends_connection) {
                // Before these changes are reported as deferred, and so may be sent again.
                connection.shut_down();
                self.connection.forget(&connection).await;
            }
            if let Some(last) = failures.last() {
                answers.defer_rest(&last.reason, last.wait());
                break;
            }
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        if let Some(connection) = self.connection.take().await {
            connection.close().await;
        }
        Ok(()) // Every batch has been answered; nothing is buffered here.
    }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::*;
    use crate::EventHubsOptions;
    use crate::connection_string::connect;

    #[test]
    fn a_refusal_is_a_matter_of_the_access_and_silence_one_of_the_network() {
        let text = "Endpoint=sb://shop.example/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;EntityPath=orders";
        let (connection, hub) = connect(text, None).unwrap();
        let options: EventHubsOptions = from_toml("connection = { env = \"HUB\" }").unwrap();
        let encoder = options.events.encoder("");
        let settings = Settings { options, access: connection.into(), hub, encoder };
        let network = "Check the address, and that it can be reached from this machine.";
        for (class, kind, hint) in [
            (Class::FAULT, SinkErrorKind::Denied, settings.access.hint()),
            (Class::BUSY, SinkErrorKind::Unreachable, network),
            (Class::THROTTLED, SinkErrorKind::Unreachable, network),
        ] {
            let failure =
                Failure { class, kind: SinkErrorKind::Denied, ..Failure::broken("refused") };
            let error = unusable(&settings, failure);
            assert_eq!((error.kind, error.hint.as_deref()), (kind, Some(hint)), "{class:?}");
        }
    }
}
