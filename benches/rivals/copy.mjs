// Copies a container with the JavaScript SDK's change feed iterator and bulk calls, for benches/rivals.py.
//
// Usage: node copy.mjs NODE_MODULES SOURCE_ENDPOINT SOURCE_KEY TARGET_ENDPOINT TARGET_KEY DOCUMENTS PATH...
//
// Copies `shop/orders` to `shop/copies`, whose partition key has the given paths, and ends once so many
// documents were written.

import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, sourceEndpoint, sourceKey, targetEndpoint, targetKey, count, ...paths] = process.argv.slice(2);
// The SDK is installed outside the checkout, where an import statement would not look.
const { CosmosClient, ChangeFeedStartFrom } = createRequire(join(modules, "package.json"))("@azure/cosmos");
const container = (endpoint, key, name) => new CosmosClient({ endpoint, key }).database("shop").container(name);
const source = container(sourceEndpoint, sourceKey, "orders");
const { items } = container(targetEndpoint, targetKey, "copies");
const SYSTEM = ["_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"];
let copied = 0;

const keyOf = (document) =>
  paths.map((path) => path.slice(1).split("/").reduce((at, name) => at[name], document));

async function copy(range) {
  const from = ChangeFeedStartFrom.Beginning(range);
  const feed = source.items.getChangeFeedIterator({ maxItemCount: 1000, changeFeedStartFrom: from });
  while (copied < Number(count)) {
    const { result } = await feed.readNext();
    const operations = result.map((document) => {
      for (const name of SYSTEM) delete document[name];
      const key = keyOf(document);
      return {
        operationType: "Upsert",
        partitionKey: key.length === 1 ? key[0] : key,
        resourceBody: document,
      };
    });
    for (const { error } of operations.length ? await items.executeBulkOperations(operations) : []) {
      if (error) throw error;
    }
    copied += result.length;
    if (result.length === 0) await new Promise((done) => setTimeout(done, 50));
  }
}

await Promise.all((await source.getFeedRanges()).map(copy));
console.log(copied, "documents");
process.exit(0);
