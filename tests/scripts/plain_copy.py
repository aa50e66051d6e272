#!/usr/bin/env python3
"""Copies a container with a plain loop: the baseline that the bridge's throughput is compared with.

Reads the change feed of each feed range from its beginning and upserts one document after the
other, as a person would write it with the official SDK. Prints one JSON object.
"""

import argparse
import json
import sys
import time

from azure.cosmos import CosmosClient

SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for side in ("source", "target"):
        parser.add_argument(f"--{side}-endpoint", required=True)
        parser.add_argument(f"--{side}-key", required=True)
        parser.add_argument(f"--{side}-database", required=True)
        parser.add_argument(f"--{side}-container", required=True)
    parser.add_argument("--page-size", type=int, default=1000, help="documents per feed page")
    parser.add_argument("--limit", type=int, help="stop after this many documents")
    return parser.parse_args()


def container(args, side):
    value = vars(args)
    client = CosmosClient(value[f"{side}_endpoint"], value[f"{side}_key"])
    database = client.get_database_client(value[f"{side}_database"])
    return database.get_container_client(value[f"{side}_container"])


def documents(source, page_size):
    """Every latest document of the source, one feed range after the other."""
    for feed_range in source.read_feed_ranges():
        yield from source.query_items_change_feed(
            feed_range=feed_range, start_time="Beginning", max_item_count=page_size
        )


def main():
    args = arguments()
    source, target = container(args, "source"), container(args, "target")
    copied = 0
    # Loading the SDK is not copying.
    started, cpu_started = time.perf_counter(), time.process_time()
    for document in documents(source, args.page_size):
        for name in SYSTEM_PROPERTIES:
            document.pop(name, None)
        target.upsert_item(document)
        copied += 1
        if copied == args.limit:
            break
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    json.dump(
        {
            "documents": copied,
            "seconds": round(seconds, 3),
            "documents_per_second": round(copied / seconds, 1) if copied else 0.0,
            "cpu_seconds": round(cpu_seconds, 3),
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
