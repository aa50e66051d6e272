//! Local Azure Cosmos DB accounts on loopback.
