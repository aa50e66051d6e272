#!/usr/bin/env python3
"""Sends to a hub with the official client, in each of the ways it offers.

    send_hub.py CONNECTION_STRING HUB COUNT

Prints one line of JSON: the properties of the hub, and what was sent how.
"""

import json
import sys

from azure.eventhub import EventData, EventHubProducerClient

from read_hub import mend_the_transport


def event(number, kind):
    data = EventData(json.dumps({"kind": kind, "number": number}))
    data.properties = {"kind": kind, "number": number}
    data.content_type = "application/json"
    data.message_id = f"{kind}-{number}"
    return data


def main():
    connection_string, hub, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mend_the_transport()
    with EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name=hub
    ) as client:
        properties = client.get_eventhub_properties()
        partitions = properties["partition_ids"]
        for key in ("7", "131", "FWfAT"):
            batch = client.create_batch(partition_key=key)
            for number in range(5):
                batch.add(event(number, f"key {key}"))
            client.send_batch(batch)
        batch = client.create_batch(partition_id="1")
        for number in range(5):
            batch.add(event(number, "partition"))
        client.send_batch(batch)
        client.send_event(event(0, "single"))
        number = 0
        while number < count:
            batch = client.create_batch(partition_id=partitions[-1])
            while number < count:
                try:
                    batch.add(event(number, "many"))
                except ValueError:
                    break
                number += 1
            client.send_batch(batch)
        ends = {
            partition: client.get_partition_properties(partition)[
                "last_enqueued_sequence_number"
            ]
            for partition in partitions
        }
    print(
        json.dumps(
            {
                "name": properties["eventhub_name"],
                "partitions": partitions,
                "ends": ends,
            }
        )
    )


if __name__ == "__main__":
    main()
