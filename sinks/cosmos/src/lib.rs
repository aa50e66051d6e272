//! Writes changes into an Azure Cosmos DB container.
