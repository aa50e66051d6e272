//! Reads the provisioned throughput of a container.

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::models::ThroughputProperties;

use super::container_clients::Clients;
use super::{ContainerHandle, CosmosError};

/// Provisioned request units per second: the manual value, or the maximum with autoscale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Provisioned {
    /// Provisioned on the container.
    Container(f64),
    /// Provisioned on the database and shared by its containers.
    Database(f64),
    /// Not provisioned, as in a serverless account.
    Unknown,
}

impl ContainerHandle {
    /// The current provisioned throughput. Sends up to five metadata requests; nothing is cached.
    ///
    /// # Errors
    ///
    /// The throughput cannot be read: 401 or 403 if the credential may only read data.
    pub async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        let attempt = format!("reading the throughput of `{}`", self.name);
        let clients = self.clients.clients(&attempt).await?;
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
                let error = self.clients.failed(clients, attempt, &error).await;
                if is_serverless(&error) { Ok(None) } else { Err(error) }
            }
        }
    }
}

/// With autoscale, the throughput of an offer is the value it is scaled to at the moment.
fn units(offer: &ThroughputProperties) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "throughput is far below 2^53")]
    offer.autoscale_maximum().or(offer.throughput()).map(|units| units as f64)
}

/// Serverless accounts answer 400, "Reading or replacing offers is not supported for serverless
/// accounts." The answer has no substatus, so only its text identifies it.
fn is_serverless(error: &CosmosError) -> bool {
    error.answer.status == 400 && error.answer.message.contains("serverless")
}

#[cfg(test)]
mod tests;
