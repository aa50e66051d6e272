// One bulk call of the official JavaScript SDK, for a comparison of what it sends.
//
// Usage: node sdk_bulk.mjs <node_modules> < given.json
//
// Reads one JSON object from stdin (where the account is, and the operations) and prints the statuses.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

// The SDK is installed outside the checkout, where an import statement would not look.
const require = createRequire(join(process.argv[2], "package.json"));
const { CosmosClient } = require("@azure/cosmos");

const { endpoint, key, operations } = JSON.parse(readFileSync(0, "utf8"));
const { items } = new CosmosClient({ endpoint, key }).database("shop").container("orders");
const done = await items.executeBulkOperations(
  operations.map(({ kind, key, id, document, etag }) => ({
    operationType: kind,
    partitionKey: key,
    ...(kind === "Replace" || kind === "Delete" ? { id } : {}),
    ...(document ? { resourceBody: document } : {}),
    ...(etag ? { ifMatch: etag } : {}),
  })),
);
process.stdout.write(
  JSON.stringify(done.map(({ response, error }) => response?.statusCode ?? error.code)),
);
