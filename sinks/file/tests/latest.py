"""
Prints the newest version of each document in a file of events, as JSON lines.

Usage: latest.py FILE...

Files are given from the oldest to the newest. A change may be written more than once, with the same id;
and the last line for a document is its newest.
"""

import json
import sys

seen, latest = set(), {}
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["id"] in seen:
                continue
            seen.add(event["id"])
            # Where a name is percent-encoded, it is another one than without that.
            document = (event.get("partitionkey"), event["subject"], event.get("percentencoded"))
            if "data" in event:
                latest[document] = event["data"]
            else:
                latest.pop(document, None)

for document in latest.values():
    print(json.dumps(document))
