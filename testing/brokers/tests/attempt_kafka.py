"""Sends one message to the topic `t` and prints `ok` or the name of the error.

Usage: attempt_kafka.py HOST:PORT key=value ...
"""

import sys
import time

from confluent_kafka import KafkaError, KafkaException, Producer

said = []


def name(error):
    # Authentication and TLS fail as "all brokers are down" too, after the real reason.
    if error.code() != KafkaError._ALL_BROKERS_DOWN:
        said.append(error.name())


producer = Producer({
    "bootstrap.servers": sys.argv[1], "error_cb": name, "message.timeout.ms": 60000,
    "log_level": 0, "sasl.mechanism": "PLAIN",
    **dict(option.split("=", 1) for option in sys.argv[2:])})
try:
    producer.produce("t", b"v", on_delivery=lambda error, _: said.append(error.name() if error else "ok"))
except KafkaException as failed:
    said.append(failed.args[0].name())
deadline = time.monotonic() + 70
while not said and time.monotonic() < deadline:
    producer.poll(0.1)
print(said[0] if said else "nothing")
producer.purge()
