"""
Prints the newest state of each document as JSON lines, from its own durable queue.

Usage: consume.py URL EXCHANGE BINDING_KEY [COUNT]
The queue remains when the consumer stops, so nothing is missed. With COUNT it stops after COUNT messages.
"""

import json
import sys

import pika

url, exchange, key, *count = sys.argv[1:]
left = int(count[0]) if count else None
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.queue_declare("example", durable=True)
channel.queue_bind("example", exchange, key)
channel.basic_qos(prefetch_count=100)
print("ready", flush=True)

# The last seen change of each document. A consumer that restarts must store this with its results.
seen = {}
for method, properties, body in channel.consume("example"):
    event = {
        name.removeprefix("ce-"): value
        for name, value in properties.headers.items()
        if name.startswith("ce-")
    }
    # Numbers begin again if the source container is deleted and created again.
    # Where a name is percent-encoded, it is another one than without that.
    names = (event.get("partitionkey"), event["subject"], event.get("percentencoded"))
    document = (event["containerid"], *names)
    # What was delivered again is not newer than what was seen.
    if seen.get(document, "") < event["sequence"]:
        seen[document] = event["sequence"]
        change = {"operation": event["type"].rsplit(".", 1)[-1], "id": event["subject"]}
        change["document"] = json.loads(body) if body else None
        print(json.dumps(change), flush=True)
    channel.basic_ack(method.delivery_tag)
    if left is not None:
        left -= 1
        if left == 0:
            break
channel.cancel()
channel.connection.close()
