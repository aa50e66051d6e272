"""The scripted scenario of tests/sdk.rs, through the official Python SDK.

Reads one JSON object from stdin (where the account is, and the documents to write) and prints one
JSON report. The report holds only what every client must agree on.
"""

import json
import sys
import urllib.request

from azure.core import MatchConditions
from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

SYSTEM = {"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"}
AVAD = "AllVersionsAndDeletes"


def plain(document):
    return {name: value for name, value in document.items() if name not in SYSTEM}


def by_key(pairs):
    """Groups (key, what) by key and keeps the order in which each key's changes came."""
    keys = {}
    for key, what in pairs:
        keys.setdefault(key, []).append(what)
    return keys


class Scenario:
    def __init__(self, given):
        self.given = given
        self.status = 0
        client = CosmosClient(
            given["endpoint"], given["key"], raw_response_hook=self.remember_status
        )
        database = client.get_database_client(given["database"])
        self.items = database.get_container_client("items")
        self.places = database.get_container_client("places")
        self.flow = database.get_container_client("flow")

    def remember_status(self, response):
        self.status = response.http_response.status_code

    def manage(self, path, body):
        request = urllib.request.Request(
            self.given["management"] + path,
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def attempt(self, name, call):
        """[name, status], and the document when there is one."""
        try:
            result = call()
        except CosmosHttpResponseError as error:
            return [name, error.status_code]
        return [name, self.status] + ([plain(result)] if result else [])

    def points(self):
        items, out = self.items, []

        def step(name, call):
            out.append(self.attempt(name, call))

        one = {"id": "one", "pk": "p", "n": 1, "name": "Ada"}
        two = {"id": "two", "pk": "p", "count": 1, "tags": ["a"], "gone": True}
        step("create", lambda: items.create_item(one))
        step("create again", lambda: items.create_item(one))
        step("read", lambda: items.read_item("one", "p"))
        step("read nothing", lambda: items.read_item("missing", "p"))
        step("read under another key", lambda: items.read_item("one", "q"))
        step("upsert creates", lambda: items.upsert_item(two))
        step("upsert replaces", lambda: items.upsert_item({**two, "n": 2}))
        old = items.read_item("one", "p")["_etag"]
        match = {"etag": old, "match_condition": MatchConditions.IfNotModified}
        step("replace the known version",
             lambda: items.replace_item("one", {**one, "n": 2}, **match))
        step("replace an old version",
             lambda: items.replace_item("one", {**one, "n": 3}, **match))
        step("replace nothing",
             lambda: items.replace_item("missing", {"id": "missing", "pk": "p"}))
        step("patch", lambda: items.patch_item("two", "p", [
            {"op": "set", "path": "/name", "value": "Zoë"},
            {"op": "incr", "path": "/count", "value": 4},
            {"op": "add", "path": "/tags/-", "value": "b"},
            {"op": "remove", "path": "/gone"},
        ]))
        step("patch nothing", lambda: items.patch_item(
            "missing", "p", [{"op": "set", "path": "/n", "value": 1}]))
        step("delete an old version", lambda: items.delete_item("one", "p", **match))
        step("delete", lambda: items.delete_item("two", "p"))
        step("delete again", lambda: items.delete_item("two", "p"))
        step("create once more", lambda: items.create_item({"id": "two", "pk": "p", "n": 3}))
        return out

    def awkward(self):
        for document in self.given["awkward"]:
            self.items.create_item(document)
        return [plain(self.items.read_item(d["id"], d["pk"])) for d in self.given["awkward"]]

    def batch(self):
        def run(operations):
            try:
                results = self.items.execute_item_batch(operations, "b")
            except CosmosBatchOperationError as error:
                results = error.operation_responses
            return [result["statusCode"] for result in results]

        committed = run([
            ("create", ({"id": "b1", "pk": "b", "n": 1},)),
            ("upsert", ({"id": "b2", "pk": "b", "n": 1},)),
            ("replace", ("b1", {"id": "b1", "pk": "b", "n": 2})),
            ("read", ("b2",)),
            ("create", ({"id": "b3", "pk": "b", "n": 1},)),
            ("delete", ("b2",)),
        ])
        rolled_back = run([
            ("create", ({"id": "b4", "pk": "b", "n": 1},)),
            ("create", ({"id": "b1", "pk": "b", "n": 9},)),
            ("upsert", ({"id": "b5", "pk": "b", "n": 1},)),
        ])
        left = [self.attempt(name, lambda name=name: self.items.read_item(name, "b"))
                for name in ("b1", "b2", "b3", "b4", "b5")]
        return {"committed": committed, "rolled back": rolled_back, "left": left}

    def bulk(self):
        """One by one here; the JavaScript client sends the same in bulk requests."""
        done = []
        for n in range(30):
            document = {"id": f"k{n:02}", "pk": f"bulk-{n:02}", "n": n}
            done.append(self.attempt("create", lambda d=document: self.items.create_item(d))[1])
        for n in range(20, 40):
            document = {"id": f"k{n:02}", "pk": f"bulk-{n:02}", "n": n + 100}
            done.append(self.attempt("upsert", lambda d=document: self.items.upsert_item(d))[1])
        for n in range(0, 45, 5):
            done.append(self.attempt("delete", lambda n=n: self.items.delete_item(
                f"k{n:02}", f"bulk-{n:02}"))[1])
        return done

    def queries(self):
        for document in self.given["query"]:
            self.items.create_item(document)
        out = {}
        for query in self.given["queries"]:
            scope = {"partition_key": query["key"]} if "key" in query else {
                "enable_cross_partition_query": True}
            parameters = [{"name": n, "value": v} for n, v in query["parameters"].items()]
            rows = self.items.query_items(query["text"], parameters=parameters, **scope)
            out[query["name"]] = [plain(row) if isinstance(row, dict) else row for row in rows]
        try:
            list(self.items.query_items("SELECT FROM WHERE", partition_key="red"))
        except CosmosHttpResponseError as error:
            out["not a query"] = error.status_code
        return out

    def hierarchical(self):
        created = [self.attempt("create", lambda d=d: self.places.create_item(d))[1]
                   for d in self.given["places"]]
        read = self.attempt("read", lambda: self.places.read_item("h1", ["zürich", "süd"]))
        missing = self.attempt("read", lambda: self.places.read_item("h1", ["zürich", "north"]))
        under = self.places.query_items("SELECT c.n FROM c", partition_key=["acme"])
        return {
            "created": created,
            "read": read,
            "under another key": missing,
            "under a prefix": sorted(row["n"] for row in under),
            "feed": [[c["id"], c["tenant"], c["region"]] for c in sorted(
                self.everything(self.places), key=lambda c: c["n"])],
        }

    def ttl(self):
        self.items.create_item({"id": "short", "pk": "ttl", "ttl": 60})
        self.items.create_item({"id": "long", "pk": "ttl", "ttl": 3600})
        self.items.create_item({"id": "always", "pk": "ttl"})
        before = self.attempt("before", lambda: self.items.read_item("short", "ttl"))
        self.manage("/clock", {"advance_seconds": 120})
        after = [self.attempt(name, lambda name=name: self.items.read_item(name, "ttl"))
                 for name in ("short", "long", "always")]
        return {"before": before, "after": after}

    def page(self, container, size, **start):
        """One page of the change feed, and the place after it."""
        pages = container.query_items_change_feed(max_item_count=size, **start).by_page()
        changes = list(next(pages, []))
        return changes, container.client_connection.last_response_headers["etag"]

    def rest(self, container, **start):
        """Every change from a place on; the iterator ends when all its ranges are idle."""
        return list(container.query_items_change_feed(max_item_count=7, **start))

    def everything(self, container):
        for feed_range in container.read_feed_ranges():
            yield from self.rest(container, feed_range=feed_range, start_time="Beginning")

    def now(self, container):
        """Where all versions begin: the end of each feed range."""
        tokens = []
        for feed_range in container.read_feed_ranges():
            changes, token = self.page(
                container, 1, feed_range=feed_range, mode=AVAD, start_time="Now")
            assert not changes, "a feed that starts now has no changes yet"
            tokens.append(token)
        return tokens

    def latest(self):
        ranges, pairs = list(self.items.read_feed_ranges()), []
        for feed_range in ranges:
            changes, token = self.page(
                self.items, 3, feed_range=feed_range, start_time="Beginning")
            assert len(changes) <= 3, "a page holds no more than was asked for"
            changes += self.rest(self.items, continuation=token)
            pairs += [(c["pk"], plain(c)) for c in changes]
        return {"ranges": len(ranges), "keys": by_key(pairs)}

    def versions(self, container, tokens):
        pairs = []
        for token in tokens:
            for change in self.rest(container, continuation=token):
                pairs.append(describe(change))
        return by_key(pairs)

    def split(self):
        """Both feeds resumed on a range that was split after their place was taken."""
        before = list(self.flow.read_feed_ranges())
        versions = self.now(self.flow)
        for document in self.given["flow_before"]:
            self.flow.create_item(document)
        first, token = self.page(self.flow, 7, feed_range=before[0], start_time="Beginning")
        self.manage(self.given["flow_path"] + "/split", {"range": None, "hold": False})
        for document in self.given["flow_after"]:
            self.flow.upsert_item(document)
        later = self.rest(self.flow, continuation=token)
        changes = [(c["pk"], [c["id"], c["n"]]) for c in first + later]
        return {
            "ranges": [len(before), len(list(self.flow.read_feed_ranges(force_refresh=True)))],
            "first page": len(first),
            "latest": by_key(changes),
            "versions": self.versions(self.flow, versions),
        }

    def run(self):
        start = self.now(self.items)
        report = {
            "points": self.points(),
            "awkward": self.awkward(),
            "batch": self.batch(),
            "bulk": self.bulk(),
            "queries": self.queries(),
            "hierarchical": self.hierarchical(),
            "ttl": self.ttl(),
        }
        report["latest"] = self.latest()
        report["versions"] = self.versions(self.items, start)
        report["split"] = self.split()
        return report


def describe(change):
    """One change of the feed of all versions: its key, and what every client must see of it."""
    current, previous = change.get("current") or {}, change.get("previous") or {}
    metadata = change["metadata"]
    known = current or previous
    return known["pk"], {
        "operation": metadata["operationType"],
        "id": known["id"],
        "expired": bool(metadata.get("timeToLiveExpired")),
        "current": plain(current),
        "previous": plain(previous),
        "numbered": metadata["lsn"] > 0 and metadata["crts"] > 0,
    }


if __name__ == "__main__":
    # Text that is not ASCII must leave this process as UTF-8 in every locale.
    given = json.loads(sys.stdin.buffer.read())
    report = Scenario(given).run()
    sys.stdout.buffer.write(json.dumps(report, ensure_ascii=False).encode())
