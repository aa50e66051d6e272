// The scripted scenario of tests/sdk.rs, through the official JavaScript SDK.
//
// Usage: node sdk_javascript.mjs <node_modules> < given.json
//
// Reads one JSON object from stdin (where the account is, and the documents to write) and prints
// one JSON report. The report holds only what every client must agree on.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

// The SDK is installed outside the checkout, where an import statement would not look.
const require = createRequire(join(process.argv[2], "package.json"));
const { BulkOperationType, ChangeFeedMode, ChangeFeedStartFrom, CosmosClient } =
  require("@azure/cosmos");

const SYSTEM = ["_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"];
// A feed range that was split answers for one child at a time, so one idle answer is not the end.
const IDLE_ANSWERS = 4;

const plain = (document) =>
  Object.fromEntries(Object.entries(document ?? {}).filter(([name]) => !SYSTEM.includes(name)));

// Groups [key, what] by key and keeps the order in which each key's changes came.
function byKey(pairs) {
  const keys = {};
  for (const [key, what] of pairs) (keys[key] ??= []).push(what);
  return keys;
}

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

class Scenario {
  constructor(given) {
    this.given = given;
    const client = new CosmosClient({ endpoint: given.endpoint, key: given.key });
    const database = client.database(given.database);
    this.items = database.container("items");
    this.places = database.container("places");
    this.flow = database.container("flow");
  }

  async manage(path, body) {
    const answer = await fetch(this.given.management + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.ok, `${path} answered ${answer.status}`);
    return answer.json();
  }

  // [name, status], and the document when there is one. A read of nothing does not throw here.
  async attempt(name, call) {
    try {
      const { statusCode, resource } = await call();
      const found = resource && Object.keys(resource).length > 0 && statusCode < 400;
      return found ? [name, statusCode, plain(resource)] : [name, statusCode];
    } catch (error) {
      if (typeof error.code !== "number") throw error;
      return [name, error.code];
    }
  }

  async points() {
    const { items } = this;
    const out = [];
    const step = async (name, call) => out.push(await this.attempt(name, call));
    const one = { id: "one", pk: "p", n: 1, name: "Ada" };
    const two = { id: "two", pk: "p", count: 1, tags: ["a"], gone: true };
    await step("create", () => items.items.create(one));
    await step("create again", () => items.items.create(one));
    await step("read", () => items.item("one", "p").read());
    await step("read nothing", () => items.item("missing", "p").read());
    await step("read under another key", () => items.item("one", "q").read());
    await step("upsert creates", () => items.items.upsert(two));
    await step("upsert replaces", () => items.items.upsert({ ...two, n: 2 }));
    const { resource } = await items.item("one", "p").read();
    const match = { accessCondition: { type: "IfMatch", condition: resource._etag } };
    await step("replace the known version", () =>
      items.item("one", "p").replace({ ...one, n: 2 }, match));
    await step("replace an old version", () =>
      items.item("one", "p").replace({ ...one, n: 3 }, match));
    await step("replace nothing", () =>
      items.item("missing", "p").replace({ id: "missing", pk: "p" }));
    await step("patch", () =>
      items.item("two", "p").patch([
        { op: "set", path: "/name", value: "Zoë" },
        { op: "incr", path: "/count", value: 4 },
        { op: "add", path: "/tags/-", value: "b" },
        { op: "remove", path: "/gone" },
      ]));
    await step("patch nothing", () =>
      items.item("missing", "p").patch([{ op: "set", path: "/n", value: 1 }]));
    await step("delete an old version", () => items.item("one", "p").delete(match));
    await step("delete", () => items.item("two", "p").delete());
    await step("delete again", () => items.item("two", "p").delete());
    await step("create once more", () => items.items.create({ id: "two", pk: "p", n: 3 }));
    return out;
  }

  async awkward() {
    const out = [];
    for (const document of this.given.awkward) await this.items.items.create(document);
    for (const { id, pk } of this.given.awkward) {
      out.push(plain((await this.items.item(id, pk).read()).resource));
    }
    return out;
  }

  async batch() {
    const run = async (operations) => {
      const { result } = await this.items.items.batch(operations, "b");
      return result.map(({ statusCode }) => statusCode);
    };
    const committed = await run([
      { operationType: BulkOperationType.Create, resourceBody: { id: "b1", pk: "b", n: 1 } },
      { operationType: BulkOperationType.Upsert, resourceBody: { id: "b2", pk: "b", n: 1 } },
      { operationType: BulkOperationType.Replace, id: "b1", resourceBody: { id: "b1", pk: "b", n: 2 } },
      { operationType: BulkOperationType.Read, id: "b2" },
      { operationType: BulkOperationType.Create, resourceBody: { id: "b3", pk: "b", n: 1 } },
      { operationType: BulkOperationType.Delete, id: "b2" },
    ]);
    const rolledBack = await run([
      { operationType: BulkOperationType.Create, resourceBody: { id: "b4", pk: "b", n: 1 } },
      { operationType: BulkOperationType.Create, resourceBody: { id: "b1", pk: "b", n: 9 } },
      { operationType: BulkOperationType.Upsert, resourceBody: { id: "b5", pk: "b", n: 1 } },
    ]);
    const left = [];
    for (const name of ["b1", "b2", "b3", "b4", "b5"]) {
      left.push(await this.attempt(name, () => this.items.item(name, "b").read()));
    }
    return { committed, "rolled back": rolledBack, left };
  }

  // Both of the SDK's bulk calls; the other clients do the same one by one.
  async bulk() {
    const key = (n) => `bulk-${String(n).padStart(2, "0")}`;
    const id = (n) => `k${String(n).padStart(2, "0")}`;
    const numbers = (from, to, step = 1) =>
      Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);
    const write = (operationType, n, value) => ({
      operationType,
      partitionKey: key(n),
      resourceBody: { id: id(n), pk: key(n), n: value },
    });
    const remove = (n) => ({
      operationType: BulkOperationType.Delete,
      id: id(n),
      partitionKey: key(n),
    });
    // An operation that fails is a status in one call's result and an error in the other's.
    const status = ({ response, error }) => response?.statusCode ?? error.code;
    const creates = numbers(0, 30).map((n) => write(BulkOperationType.Create, n, n));
    const upserts = numbers(20, 40).map((n) => write(BulkOperationType.Upsert, n, n + 100));
    const deletes = numbers(0, 45, 5).map(remove);
    const created = await this.items.items.executeBulkOperations(creates);
    const upserted = await this.items.items.bulk(upserts);
    const deleted = await this.items.items.executeBulkOperations(deletes);
    return [
      ...created.map(status),
      ...upserted.map(({ statusCode }) => statusCode),
      ...deleted.map(status),
    ];
  }

  async queries() {
    for (const document of this.given.query) await this.items.items.create(document);
    const out = {};
    for (const { name, key, text, parameters } of this.given.queries) {
      const query = {
        query: text,
        parameters: Object.entries(parameters).map(([name, value]) => ({ name, value })),
      };
      const options = key === undefined ? {} : { partitionKey: key };
      const { resources } = await this.items.items.query(query, options).fetchAll();
      out[name] = resources.map((row) => (typeof row === "object" ? plain(row) : row));
    }
    try {
      await this.items.items.query("SELECT FROM WHERE", { partitionKey: "red" }).fetchAll();
    } catch (error) {
      out["not a query"] = error.code;
    }
    return out;
  }

  async hierarchical() {
    const { places } = this;
    const created = [];
    for (const document of this.given.places) {
      created.push((await this.attempt("create", () => places.items.create(document)))[1]);
    }
    const read = await this.attempt("read", () => places.item("h1", ["zürich", "süd"]).read());
    const missing = await this.attempt("read", () => places.item("h1", ["zürich", "north"]).read());
    // This SDK takes a prefix of a key for a change feed only; a query must filter.
    const under = await places.items
      .query("SELECT c.n FROM c WHERE c.tenant = 'acme'")
      .fetchAll();
    const feed = await this.everything(places);
    return {
      created,
      read,
      "under another key": missing,
      "under a prefix": under.resources.map(({ n }) => n).sort((a, b) => a - b),
      feed: feed.sort((a, b) => a.n - b.n).map(({ id, tenant, region }) => [id, tenant, region]),
    };
  }

  async ttl() {
    const read = (name, id) => this.attempt(name, () => this.items.item(id, "ttl").read());
    await this.items.items.create({ id: "short", pk: "ttl", ttl: 60 });
    await this.items.items.create({ id: "long", pk: "ttl", ttl: 3600 });
    await this.items.items.create({ id: "always", pk: "ttl" });
    const before = await read("before", "short");
    await this.manage("/clock", { advance_seconds: 120 });
    const after = [];
    for (const id of ["short", "long", "always"]) after.push(await read(id, id));
    return { before, after };
  }

  feed(container, from, options = {}) {
    const all = { maxItemCount: 7, changeFeedStartFrom: from, ...options };
    return container.items.getChangeFeedIterator(all);
  }

  // Every change from a place on.
  async rest(container, from, options = {}) {
    const feed = this.feed(container, from, options);
    const changes = [];
    for (let idle = 0; idle < IDLE_ANSWERS; ) {
      const { result } = await feed.readNext();
      idle = result.length === 0 ? idle + 1 : 0;
      changes.push(...result);
    }
    return changes;
  }

  async everything(container) {
    const changes = [];
    for (const range of await container.getFeedRanges()) {
      changes.push(...(await this.rest(container, ChangeFeedStartFrom.Beginning(range))));
    }
    return changes;
  }

  // Where all versions begin: the end of each feed range.
  async now(container) {
    const tokens = [];
    for (const range of await container.getFeedRanges()) {
      const feed = this.feed(container, ChangeFeedStartFrom.Now(range), {
        changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes,
      });
      const { result, continuationToken } = await feed.readNext();
      expect(result.length === 0, "a feed that starts now has no changes yet");
      tokens.push(continuationToken);
    }
    return tokens;
  }

  async latest() {
    const ranges = await this.items.getFeedRanges();
    const pairs = [];
    for (const range of ranges) {
      const feed = this.feed(this.items, ChangeFeedStartFrom.Beginning(range), { maxItemCount: 3 });
      const first = await feed.readNext();
      expect(first.result.length <= 3, "a page holds no more than was asked for");
      const from = ChangeFeedStartFrom.Continuation(first.continuationToken);
      const changes = [...first.result, ...(await this.rest(this.items, from))];
      pairs.push(...changes.map((change) => [change.pk, plain(change)]));
    }
    return { ranges: ranges.length, keys: byKey(pairs) };
  }

  async versions(container, tokens) {
    const pairs = [];
    for (const token of tokens) {
      const changes = await this.rest(container, ChangeFeedStartFrom.Continuation(token), {
        changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes,
      });
      pairs.push(...changes.map(describe));
    }
    return byKey(pairs);
  }

  // Both feeds resumed on a range that was split after their place was taken.
  async split() {
    const before = await this.flow.getFeedRanges();
    const versions = await this.now(this.flow);
    for (const document of this.given.flow_before) await this.flow.items.create(document);
    const first = await this.feed(this.flow, ChangeFeedStartFrom.Beginning(before[0])).readNext();
    await this.manage(`${this.given.flow_path}/split`, { range: null, hold: false });
    for (const document of this.given.flow_after) await this.flow.items.upsert(document);
    const from = ChangeFeedStartFrom.Continuation(first.continuationToken);
    const later = await this.rest(this.flow, from);
    const changes = [...first.result, ...later].map(({ pk, id, n }) => [pk, [id, n]]);
    // This client keeps the ranges it knows, so a new one is asked for those of today.
    const { endpoint, key, database } = this.given;
    const today = new CosmosClient({ endpoint, key }).database(database).container("flow");
    return {
      ranges: [before.length, (await today.getFeedRanges()).length],
      "first page": first.result.length,
      latest: byKey(changes),
      versions: await this.versions(this.flow, versions),
    };
  }

  async run() {
    const start = await this.now(this.items);
    const report = {};
    for (const part of ["points", "awkward", "batch", "bulk", "queries", "hierarchical", "ttl"]) {
      report[part] = await this[part]();
    }
    report.latest = await this.latest();
    report.versions = await this.versions(this.items, start);
    report.split = await this.split();
    return report;
  }
}

// One change of the feed of all versions: its key, and what every client must see of it.
function describe({ current, previous, metadata }) {
  const known = current?.id ? current : previous;
  return [
    known.pk,
    {
      operation: metadata.operationType,
      id: known.id,
      expired: Boolean(metadata.timeToLiveExpired),
      current: plain(current),
      previous: plain(previous),
      numbered: metadata.lsn > 0 && metadata.crts > 0,
    },
  ];
}

const given = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await new Scenario(given).run()));
