#!/usr/bin/env python3
"""Compares each document of a container with its last upsert, with the official SDK only.

Reads every expected document by id and partition key, then lists the container for documents that
were not upserted. Prints one JSON object; exits with 1 and names the differences (by id, never by
content) when there are any.
"""

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError

SYSTEM_PROPERTIES = {"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"}
NAMED = 20  # Differences of one kind that are printed; the rest are counted.


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--container", required=True)
    parser.add_argument("--expected", required=True, help="written by upsert_postal.py")
    parser.add_argument("--workers", type=int, default=8)
    return parser.parse_args()


def canonical(value):
    """Text that is equal for equal JSON values: sorted keys, one form for each number."""

    def plain(part):
        if isinstance(part, float) and part.is_integer():
            return int(part)
        if isinstance(part, list):
            return [plain(one) for one in part]
        if isinstance(part, dict):
            return {name: plain(one) for name, one in part.items()}
        return part

    return json.dumps(plain(value), sort_keys=True)


def without_system_properties(document):
    return {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}


def at(document, path):
    """The value at a partition key path such as /address/city; None where there is none."""
    value = document
    for name in path.strip("/").split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def judge(target, paths, expected):
    """The kind of difference between one document and its last upsert; None when equal."""
    key = [at(expected, path) for path in paths]
    try:
        found = target.read_item(expected["id"], partition_key=key if len(key) > 1 else key[0])
    except CosmosResourceNotFoundError:
        return "missing"
    found = without_system_properties(found)
    if canonical(found) == canonical(expected):
        return None
    sequence = found.get("sequence")
    if isinstance(sequence, int) and sequence < expected["sequence"]:
        return "stale"
    return "different"


def main():
    args = arguments()
    with open(args.expected, encoding="utf-8") as file:
        expected = json.load(file)["documents"]
    if not expected:
        raise SystemExit("the file of expected documents is empty")
    client = CosmosClient(args.endpoint, args.key)
    target = client.get_database_client(args.database).get_container_client(args.container)
    paths = target.read()["partitionKey"]["paths"]

    differences = {"missing": [], "stale": [], "different": []}
    with ThreadPoolExecutor(args.workers) as pool:
        kinds = pool.map(lambda document: judge(target, paths, document), expected)
        for document, kind in zip(expected, kinds):
            if kind:
                differences[kind].append(document["id"])
    rows = target.query_items("SELECT c.id FROM c", enable_cross_partition_query=True)
    listed = Counter(row["id"] for row in rows)
    wanted = {document["id"] for document in expected}
    differences["unexpected"] = sorted(name for name in listed if name not in wanted)
    # A second copy under another partition key has the id of an expected document.
    differences["repeated"] = sorted(n for n in listed if n in wanted and listed[n] > 1)

    count = sum(len(names) for names in differences.values())
    json.dump(
        {
            "documents": len(expected),
            "in_container": listed.total(),
            "partition_key": paths,
            "differences": {kind: len(names) for kind, names in differences.items()},
            "ids": {kind: names[:NAMED] for kind, names in differences.items() if names},
        },
        sys.stdout,
    )
    print()
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
