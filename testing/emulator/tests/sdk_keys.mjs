// Containers of old kinds through the official JavaScript SDK, which hashes keys itself to group bulk
// operations by range.
//
// Usage: node sdk_keys.mjs <node_modules> < given.json
//
// Reads one JSON object from stdin (where the account is, and the documents to write) and prints one
// JSON report.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

// The SDK is installed outside the checkout, where an import statement would not look.
const require = createRequire(join(process.argv[2], "package.json"));
const { BulkOperationType, ChangeFeedStartFrom, CosmosClient } = require("@azure/cosmos");

const given = JSON.parse(readFileSync(0, "utf8"));
const { endpoint, key, database } = given;
const containers = new CosmosClient({ endpoint, key }).database(database);

// How often each status came.
function counts(statuses) {
  const counted = {};
  for (const status of statuses) counted[status] = (counted[status] ?? 0) + 1;
  return counted;
}

async function old() {
  const container = containers.container("old");
  const operations = given.documents.map((resourceBody) => ({
    operationType: BulkOperationType.Create,
    partitionKey: resourceBody.pk,
    resourceBody,
  }));
  const created = await container.items.executeBulkOperations(operations);
  const read = [];
  for (const { id, pk } of given.documents) {
    read.push((await container.item(id, pk).read()).statusCode);
  }
  return {
    created: counts(created.map(({ response, error }) => response?.statusCode ?? error.code)),
    read: counts(read),
  };
}

async function keyless() {
  const container = containers.container("keyless");
  const { resource } = await container.read();
  const created = await container.items.create({ id: "one", n: 1 });
  const upserted = await container.items.upsert({ id: "two", n: 2 });
  const read = await container.item("one").read();
  const { resources } = await container.items.query("SELECT VALUE c.n FROM c WHERE c.n > 1").fetchAll();
  const feed = container.items.getChangeFeedIterator({
    changeFeedStartFrom: ChangeFeedStartFrom.Beginning(),
  });
  const changes = (await feed.readNext()).result.map(({ id }) => id);
  const deleted = await container.item("two").delete();
  return {
    systemKey: resource.partitionKey.systemKey,
    statuses: [created, upserted, read, deleted].map(({ statusCode }) => statusCode),
    found: resources,
    changes,
  };
}

process.stdout.write(JSON.stringify({ old: await old(), keyless: await keyless() }));
