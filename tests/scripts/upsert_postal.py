#!/usr/bin/env python3
"""Upserts the North Carolina postal documents at random and records what each last looked like.

The id and pk of a document are its postal code as text; `sequence` is the number of the upsert, so
a later version always has a larger one. Every document is upserted at least once. Upserts of one
document happen in order, those of different documents at the same time. Without the data file an
equivalent set of documents is generated.
"""

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from azure.cosmos import CosmosClient

DOCUMENTS = 1075
FIRST_CODE, LAST_CODE = 27006, 28909
CITY_STARTS = "Ash Bel Carr Dur Elk Fay Green Hick Kin Laur Mor New Oak Pine Ral Salis Tar Wil".split()
CITY_ENDS = ["boro", "bury", "dale", "field", "ford", "leigh", "mont", "ton", "ville", " Creek",
             " Falls", " Hill", " Point", " Springs"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--container", required=True)
    parser.add_argument("--expected", required=True, help="where to write the last upserts (JSON)")
    parser.add_argument("--data", help="nc_zipcodes.json; generated when absent")
    parser.add_argument("--upserts", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=8)
    return parser.parse_args()


def generated():
    """As many documents of the same shape: codes with gaps, several of them in most cities."""
    chance = random.Random(27006)
    codes = sorted(chance.sample(range(FIRST_CODE, LAST_CODE + 1), DOCUMENTS))
    cities = [start + end for start in CITY_STARTS for end in CITY_ENDS]
    for code in codes:
        latitude = round(chance.uniform(33.85, 36.58), 6)
        longitude = round(chance.uniform(-84.32, -75.46), 6)
        yield {
            "location": {"type": "Point", "coordinates": [longitude, latitude]},
            "postal_cd": str(code),
            "country_cd": "US",
            "city_name": chance.choice(cities),
            "state_abbrv": "NC",
            "latitude": latitude,
            "longitude": longitude,
        }


def documents(path):
    """The documents, and whether they were read from the file."""
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            records, real = json.load(file), True
    else:
        records, real = list(generated()), False
    return [{"id": r["postal_cd"], "pk": r["postal_cd"], **r} for r in records], real


def schedule(count, upserts, chance):
    """Which document each upsert writes: all of them once, the rest at random, shuffled."""
    if upserts < count:
        raise SystemExit(f"{upserts} upserts cannot reach each of {count} documents")
    order = list(range(count)) + [chance.randrange(count) for _ in range(upserts - count)]
    chance.shuffle(order)
    return order


def run(args, work):
    """One worker: its own client, its upserts in their order."""
    client = CosmosClient(args.endpoint, args.key)
    target = client.get_database_client(args.database).get_container_client(args.container)
    for document in work:
        target.upsert_item(document)


def main():
    args = arguments()
    records, real = documents(args.data)
    last, work = {}, [[] for _ in range(args.workers)]
    order = schedule(len(records), args.upserts, random.Random(args.seed))
    for sequence, index in enumerate(order, start=1):
        document = {**records[index], "sequence": sequence}
        last[document["id"]] = document
        # One document always goes to the same worker, which keeps its versions in order.
        work[index % args.workers].append(document)

    started = time.perf_counter()
    with ThreadPoolExecutor(args.workers) as pool:
        for done in [pool.submit(run, args, share) for share in work]:
            done.result()
    seconds = time.perf_counter() - started

    with open(args.expected, "w", encoding="utf-8") as file:
        json.dump({"documents": [last[name] for name in sorted(last)]}, file, ensure_ascii=False)
    json.dump(
        {
            "documents": len(last),
            "upserts": len(order),
            "real_data": real,
            "seconds": round(seconds, 3),
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
