"""
Reads Redis back with redis-py, and prints JSON lines.

Usage: read_redis.py PORT values PATTERN      {"key", "value", "ttl"} of each key; values of hashes are objects
       read_redis.py PORT take PATTERN        the same, and removes the keys
       read_redis.py PORT entries STREAM ID   {"id", "fields"} of each entry after ID
       read_redis.py PORT order STREAM        one line about the order of the fields `sequence` of each `subject`
       read_redis.py PORT watch PATTERN STOP  reads JSON documents again and again until the key STOP exists; prints
                                              {"reads", "backwards"}: how often a `version` was below an earlier one
"""

import json
import sys
import time

import redis

from messages import Order, print_line, text

port, mode, name, *more = sys.argv[1:]
client = redis.Redis("127.0.0.1", int(port), socket_timeout=10)


def value_of(key):
    kind = client.type(key)
    if kind == b"hash":
        return {text(field): text(value) for field, value in client.hgetall(key).items()}
    if kind == b"string":
        return text(client.get(key))
    return f"a {text(kind)}"


def values(is_taken):
    for key in sorted(client.scan_iter(name, count=1000)):
        print_line({"key": text(key), "value": value_of(key), "ttl": client.pttl(key)})
        if is_taken:
            client.delete(key)


def entries(after):
    while True:
        page = client.xrange(name, min=f"({after}" if after != "-" else "-", count=1000)
        if not page:
            return
        yield from ((text(entry), text({text(k): v for k, v in fields.items()})) for entry, fields in page)
        after = text(page[-1][0])


def order():
    summary = Order()
    for _, fields in entries("-"):
        summary.take(fields.get("subject"), fields.get("sequence"))
    print_line(summary.summary())


def watch(stop):
    latest, reads, backwards = {}, 0, 0
    while True:
        try:
            ends = client.exists(stop)
            keys = list(client.scan_iter(name, count=1000))
            for at in range(0, len(keys), 200):
                part = keys[at : at + 200]
                for key, value in zip(part, client.mget(part)):
                    if value is None:
                        continue
                    version = json.loads(value)["version"]
                    reads += 1
                    backwards += version < latest.get(key, version)
                    latest[key] = version
            if ends:
                break
        except (redis.ConnectionError, redis.TimeoutError):
            time.sleep(0.02)
    print_line({"reads": reads, "backwards": backwards})


if mode in ("values", "take"):
    values(mode == "take")
elif mode == "entries":
    for entry, fields in entries(more[0]):
        print_line({"id": entry, "fields": fields})
elif mode == "order":
    order()
elif mode == "watch":
    watch(more[0])
else:
    sys.exit(f"unknown mode {mode}")
