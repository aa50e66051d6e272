"""
Reads messages as JSON lines from standard input, as read_kafka.py and read_rabbit.py print them, or
{"headers", "body"} for HTTP, parses each with the `cloudevents` package's binding, and prints
{"attributes", "data"} a line. Fails at the first message that the package does not take.

Usage: cloudevents_check.py kafka|http|rabbitmq|amqp
"""

import base64
import json
import sys

from cloudevents.core.bindings import amqp, http, kafka, rabbitmq

from messages import print_line


def raw(value):
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return (value or "").encode("utf-8")


def parse(binding, record):
    headers = record["headers"]
    if binding == "kafka":
        return kafka.from_kafka_event(kafka.KafkaMessage(
            headers={name: raw(value) for name, value in headers.items()},
            key=record["key"], value=raw(record["value"])))
    if binding == "http":
        return http.from_http_event(http.HTTPMessage(headers=headers, body=raw(record["body"])))
    properties = record["properties"]
    if binding == "rabbitmq":
        return rabbitmq.from_rabbitmq_event(rabbitmq.RabbitMQMessage(
            headers=headers, content_type=properties.get("content_type"), body=raw(record["body"])))
    # AMQP 1.0's rules for a message of AMQP 0-9-1: headers stand for application properties.
    return amqp.from_amqp_event(amqp.AMQPMessage(
        properties={"content-type": properties.get("content_type")},
        application_properties=headers, application_data=raw(record["body"])))


for line in sys.stdin:
    event = parse(sys.argv[1], json.loads(line))
    attributes = {
        name: value if isinstance(value, (str, int, bool)) else value.isoformat()
        for name, value in event.get_attributes().items()}
    print_line({"attributes": attributes, "data": event.get_data()})
