"""An account of two regions through the official Python SDK, while its writes move.

Usage: python sdk_regions.py < given.json

Reads one JSON object from stdin (where the account is, and its two regions) and prints one JSON report:
the status of each step.
"""

import json
import sys
import urllib.request

from azure.cosmos import CosmosClient


def main():
    given = json.load(sys.stdin)
    first, second = given["regions"]

    def change(region, body):
        url = f"{given['management']}/accounts/{given['account']}/regions/{region.replace(' ', '%20')}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200, answer.status

    def connect():
        client = CosmosClient(given["endpoint"], given["key"], preferred_locations=[first, second])
        return client.get_database_client("shop").get_container_client("orders")

    def write(container, name):
        container.create_item({"id": name, "pk": "k"})
        return container.read_item(name, "k")["id"]

    container = connect()
    report = {"at first": write(container, "python 1")}
    change(second, {"writes": True})
    report["after the failover"] = write(container, "python 2")
    change(first, {"offline": True})
    report["read in an outage"] = container.read_item("python 1", "k")["id"]
    change(first, {"offline": False, "writes": True})
    change(second, {"offline": True})
    # A client knows the regions of its last answer from the account, so a new one is asked.
    report["after the outage"] = write(connect(), "python 3")
    print(json.dumps(report))


main()
