"""
Takes messages from queues with pika, acknowledges them, and prints one JSON line a message:
{"queue", "exchange", "routing_key", "redelivered", "properties", "headers", "body"}; or, with
--summary, one line about order and repetition (see messages.Order; the key is the routing key).

Usage: read_rabbit.py --url amqp://... --queues a,b [--count N] [--summary] [--keep]
"""

import argparse
import sys
import time

import pika

from messages import Order, add_arguments, key_of, print_line, sequence_of, text

PROPERTIES = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--queues", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the messages in the queues")
    add_arguments(parser)
    args = parser.parse_args()

    deadline = time.monotonic() + args.timeout
    connection = pika.BlockingConnection(pika.URLParameters(args.url))
    channel = connection.channel()
    order, taken = Order(), 0
    queues = args.queues.split(",")
    waiting = {queue: channel.queue_declare(queue, passive=True).method.message_count for queue in queues}
    wanted = args.count if args.count is not None else sum(waiting.values())
    channel.basic_qos(prefetch_count=0 if args.keep else 2000)

    def take(queue, method, properties, body):
        nonlocal taken
        if taken >= wanted:
            return
        headers = text(properties.headers or {})
        if args.summary:
            order.take(key_of(args, method.routing_key, body), sequence_of(args, headers, body))
        else:
            print_line({
                "queue": queue, "exchange": method.exchange, "routing_key": method.routing_key,
                "redelivered": method.redelivered,
                "properties": {
                    name: text(getattr(properties, name)) for name in PROPERTIES
                    if getattr(properties, name) is not None},
                "headers": headers, "body": text(body),
            })
        taken += 1
        if not args.keep and (taken % 500 == 0 or taken == wanted):
            channel.basic_ack(method.delivery_tag, multiple=True)

    for queue in queues if wanted else []:
        channel.basic_consume(
            queue, lambda _, method, properties, body, queue=queue: take(queue, method, properties, body))
    while taken < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"read {taken} of {wanted} messages in {args.timeout} s")
        connection.process_data_events(time_limit=0.2)
    # What came beyond the count, or is to be kept, goes back when the connection closes.
    connection.close()
    if args.summary:
        print_line(order.summary())


main()
