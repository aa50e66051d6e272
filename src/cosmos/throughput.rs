//! Reads what throughput a container has.

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::models::ThroughputProperties;

use super::link::Clients;
use super::{ContainerHandle, CosmosError};

/// Provisioned request units per second: the manual value, or the maximum with autoscale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Provisioned {
    /// The container's own.
    Container(f64),
    /// The database's, which the container shares with others.
    Database(f64),
    /// There is none, as in a serverless account.
    Unknown,
}

impl ContainerHandle {
    /// What is provisioned for the container now. Up to five metadata requests; nothing of it is
    /// kept from one call to the next.
    ///
    /// # Errors
    ///
    /// It cannot be read. 401 or 403 where the credential may read data and nothing else.
    pub async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        let attempt = format!("reading the throughput of `{}`", self.name);
        let clients = self.link.clients(&attempt).await?;
        self.gate.ready().await;
        let own = clients.container.read_throughput(None).await;
        if let Some(units) = self.offered(&attempt, &clients, own).await? {
            return Ok(Provisioned::Container(units));
        }
        self.gate.ready().await;
        let shared = clients.database.read_throughput(None).await;
        Ok(self
            .offered(&attempt, &clients, shared)
            .await?
            .map_or(Provisioned::Unknown, Provisioned::Database))
    }

    async fn offered(
        &self,
        attempt: &str,
        clients: &Clients,
        read: Result<Option<ThroughputProperties>, SdkError>,
    ) -> Result<Option<f64>, CosmosError> {
        match read {
            Ok(offer) => Ok(offer.as_ref().and_then(units)),
            Err(error) => {
                let fault = self.link.failed(clients, attempt, &error).await;
                if is_serverless(&fault) { Ok(None) } else { Err(fault) }
            }
        }
    }
}

/// An offer with autoscale tells what it is scaled to at the moment as its throughput.
fn units(offer: &ThroughputProperties) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "throughput is far below 2^53")]
    offer.autoscale_maximum().or(offer.throughput()).map(|units| units as f64)
}

/// Serverless accounts refuse to tell: 400, "Reading or replacing offers is not supported for
/// serverless accounts." There is no substatus to go by.
fn is_serverless(fault: &CosmosError) -> bool {
    fault.answer.status == 400 && fault.answer.message.contains("serverless")
}

#[cfg(test)]
mod tests;
