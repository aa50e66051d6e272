#!/usr/bin/env python3
"""Reads a hub with the official client, as a check that is not our own code.

Prints one line of JSON for each event: partition, offset, sequence_number, enqueued_time,
partition_key, message_id, content_type, properties, body (base64 if it is not UTF-8).

    read_hub.py CONNECTION_STRING HUB [--count N] [--from PARTITION=OFFSET ...] [--idle SECONDS]

Ends after N events, or when no partition has anything more. With --summary it prints one line
instead: events, gaps in the sequence numbers, distinct message ids, and, by the fields named with
--key and --order in JSON bodies, how many keys there are, how often an event came again
(duplicates), how often a new event came after a later one of the same key (disorder), and how many
keys have something else than their latest as their last event (stale).
"""

import argparse
import base64
import json
import sys
import threading
import time

from azure.eventhub import EventHubConsumerClient


def mend_the_transport():
    """The client copies TCP_MAXSEG back to its socket, which loopback refuses at random."""
    from azure.eventhub._pyamqp import _transport

    for name in ("KNOWN_TCP_OPTS", "_KNOWN_TCP_OPTS"):
        options = getattr(_transport, name, None)
        if options is not None and "TCP_MAXSEG" in options:
            setattr(_transport, name, type(options)(o for o in options if o != "TCP_MAXSEG"))


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def line(partition, event):
    body = b"".join(event.body)
    try:
        body = body.decode()
    except UnicodeDecodeError:
        body = base64.b64encode(body).decode()
    properties = {text(k): text(v) for k, v in (event.properties or {}).items()}
    return {
        "partition": partition,
        "offset": event.offset,
        "sequence_number": event.sequence_number,
        "enqueued_time": event.enqueued_time.timestamp(),
        "partition_key": text(event.partition_key),
        "message_id": text(event.message_id),
        "content_type": text(event.content_type),
        "properties": properties,
        "body": body,
    }


class Summary:
    def __init__(self, key, order):
        self.key, self.order = key, order
        self.events = self.gaps = self.duplicates = self.disorder = 0
        self.next, self.latest, self.seen, self.ids = {}, {}, {}, set()
        self.last = {}

    def add(self, event):
        self.events += 1
        partition, number = event["partition"], event["sequence_number"]
        if number != self.next.get(partition, number):
            self.gaps += 1
        self.next[partition] = number + 1
        self.ids.add(event["message_id"])
        if self.key is None:
            return
        body = json.loads(event["body"])
        key, order = body[self.key], body[self.order]
        self.last[key] = order
        seen = self.seen.setdefault(key, set())
        if order in seen:
            self.duplicates += 1
            return
        if order < self.latest.get(key, order):
            self.disorder += 1
        self.latest[key] = max(order, self.latest.get(key, order))
        seen.add(order)

    def line(self):
        distinct = sum(len(seen) for seen in self.seen.values())
        return {
            "events": self.events,
            "gaps": self.gaps,
            "message_ids": len(self.ids),
            "keys": len(self.seen),
            "distinct": distinct,
            "duplicates": self.duplicates,
            "disorder": self.disorder,
            "stale": sum(self.last[key] != self.latest[key] for key in self.last),
        }


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("connection_string")
    arguments.add_argument("hub")
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--from", dest="starts", action="append", default=[])
    arguments.add_argument("--idle", type=float, default=3.0)
    arguments.add_argument("--summary", action="store_true")
    arguments.add_argument("--key")
    arguments.add_argument("--order")
    arguments = arguments.parse_args()
    mend_the_transport()

    client = EventHubConsumerClient.from_connection_string(
        arguments.connection_string, "$Default", eventhub_name=arguments.hub
    )
    starts = dict(start.split("=", 1) for start in arguments.starts)
    partitions = client.get_partition_ids()
    # Where each partition ends now, so that an end is known and not guessed.
    ends = {}
    for partition in partitions:
        properties = client.get_partition_properties(partition)
        if not properties["is_empty"]:
            ends[partition] = properties["last_enqueued_sequence_number"]

    summary = Summary(arguments.key, arguments.order)
    lock, done = threading.Lock(), threading.Event()
    state = {"count": 0, "last": time.monotonic()}
    reached = set(partitions) - set(ends)

    def on_event(context, event):
        if event is None:
            return
        with lock:
            if arguments.count is not None and state["count"] >= arguments.count:
                return
            state["count"] += 1
            state["last"] = time.monotonic()
            read = line(context.partition_id, event)
            summary.add(read)
            if not arguments.summary:
                print(json.dumps(read), flush=True)
            if event.sequence_number >= ends.get(context.partition_id, sys.maxsize):
                reached.add(context.partition_id)
            enough = arguments.count is not None and state["count"] >= arguments.count
            if enough or (arguments.count is None and len(reached) == len(partitions)):
                done.set()

    if arguments.count is None and len(reached) == len(partitions):
        done.set()

    readers = []
    for partition in partitions:
        start = starts.get(partition, "-1")
        reader = threading.Thread(
            target=client.receive,
            kwargs={
                "on_event": on_event,
                "partition_id": partition,
                "starting_position": start,
                "max_wait_time": 1,
            },
            daemon=True,
        )
        reader.start()
        readers.append(reader)
    while not done.wait(0.05):
        if arguments.count is None and time.monotonic() - state["last"] > 60:
            break
        if arguments.count is not None and state["count"] and (
            time.monotonic() - state["last"] > 60
        ):
            break
    client.close()
    for reader in readers:
        reader.join(10)
    if arguments.summary:
        print(json.dumps(summary.line()), flush=True)
    return 0 if done.is_set() else 1


if __name__ == "__main__":
    sys.exit(main())
