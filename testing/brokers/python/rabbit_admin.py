"""
Queues, bindings and messages of a RabbitMQ under test, with pika.

Usage: rabbit_admin.py --url amqp://... exchange NAME TYPE
       rabbit_admin.py --url amqp://... queue NAME [EXCHANGE ROUTING_KEY]
       rabbit_admin.py --url amqp://... delete-exchange NAME
       rabbit_admin.py --url amqp://... delete-queue NAME
       rabbit_admin.py --url amqp://... unbind NAME EXCHANGE ROUTING_KEY
       rabbit_admin.py --url amqp://... count NAME
       rabbit_admin.py --url amqp://... send EXCHANGE [ROUTING_KEY BODY ...]
Everything is durable.
"""

import argparse

import pika


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("command", choices=[
        "exchange", "queue", "delete-exchange", "delete-queue", "unbind", "count", "send"])
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    connection = pika.BlockingConnection(pika.URLParameters(args.url))
    channel = connection.channel()
    if args.command == "exchange":
        channel.exchange_declare(args.rest[0], args.rest[1], durable=True)
    elif args.command == "queue":
        name, *binding = args.rest
        channel.queue_declare(name, durable=True)
        if binding:
            channel.queue_bind(name, *binding)
    elif args.command == "delete-exchange":
        channel.exchange_delete(args.rest[0])
    elif args.command == "unbind":
        channel.queue_unbind(*args.rest)
    elif args.command == "delete-queue":
        channel.queue_delete(args.rest[0])
    elif args.command == "count":
        print(channel.queue_declare(args.rest[0], passive=True).method.message_count)
    else:
        exchange, *pairs = args.rest
        channel.confirm_delivery()
        for key, body in zip(pairs[::2], pairs[1::2], strict=True):
            channel.basic_publish(
                exchange, key, body.encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


main()
