"""
Prints the newest state of each document as JSON lines, from a stream, as a member of a consumer group.

Usage: consume.py URL STREAM [COUNT]
The group remembers what was acknowledged, so nothing is missed; with COUNT it ends after that number of entries.
"""

import json
import sys

import redis

url, stream, *count = sys.argv[1:]
left = int(count[0]) if count else None
client = redis.Redis.from_url(url, decode_responses=True)
try:
    client.xgroup_create(stream, "example", id="0", mkstream=True)
except redis.ResponseError as error:
    if not str(error).startswith("BUSYGROUP"):
        raise

# The last change that was seen of each document. A consumer that restarts keeps this with its work.
seen = {}
while left is None or left > 0:
    pages = client.xreadgroup("example", "one", {stream: ">"}, count=min(left or 100, 100), block=1000)
    for entry, event in pages[0][1] if pages else []:
        # Numbers begin again if the source container is deleted and created again.
        # Where a name is percent-encoded, it is another one than without that.
        names = (event.get("partitionkey"), event["subject"], event.get("percentencoded"))
        document = (event["containerid"], *names)
        # What was delivered again is not newer than what was seen.
        if seen.get(document, "") < event["sequence"]:
            seen[document] = event["sequence"]
            change = {"operation": event["type"].rsplit(".", 1)[-1], "id": event["subject"]}
            change["document"] = json.loads(event["data"]) if "data" in event else None
            print(json.dumps(change), flush=True)
        client.xack(stream, "example", entry)
        if left is not None:
            left -= 1
