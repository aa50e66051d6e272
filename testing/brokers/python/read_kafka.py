"""
Reads topics from their beginning with confluent-kafka and prints one JSON line a message:
{"topic", "partition", "offset", "timestamp", "key", "headers", "value"}; or, with --summary, one line
about order and repetition (see messages.Order).

Usage: read_kafka.py --bootstrap HOST:PORT --topics a,b [--config key=value ...] [--count N] [--summary]
"""

import argparse
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from messages import Order, add_arguments, key_of, print_line, sequence_of, text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topics", required=True)
    parser.add_argument("--config", action="append", default=[], help="a client option, as key=value")
    add_arguments(parser)
    args = parser.parse_args()

    deadline = time.monotonic() + args.timeout
    options = dict(option.split("=", 1) for option in args.config)
    consumer = Consumer({
        "bootstrap.servers": args.bootstrap,
        # Partitions are assigned by hand: a group would only add its rebalancing.
        "group.id": "reader",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        **options,
    })
    ends = {}
    for topic in args.topics.split(","):
        metadata = consumer.list_topics(topic, timeout=args.timeout).topics[topic]
        if metadata.error:
            sys.exit(f"{topic}: {metadata.error}")
        for partition in metadata.partitions:
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=args.timeout)
            ends[topic, partition] = (low, high)
    consumer.assign([TopicPartition(t, p, low) for (t, p), (low, _) in ends.items()])
    # With a count the reader waits for messages that are still to come; without, it stops at the
    # end as it was at the start.
    open_partitions = {place for place, (low, high) in ends.items() if low < high}

    order, taken = Order(), 0
    while taken < args.count if args.count is not None else open_partitions:
        if time.monotonic() > deadline:
            sys.exit(f"read {taken} messages in {args.timeout} s, waiting for more")
        for message in consumer.consume(num_messages=5000, timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            place = (message.topic(), message.partition())
            if message.offset() + 1 >= ends[place][1]:
                open_partitions.discard(place)
            headers = {name: text(value) for name, value in message.headers() or []}
            key, value = text(message.key()), message.value()
            if args.summary:
                order.take(key_of(args, key, value), sequence_of(args, headers, value))
            else:
                print_line({
                    "topic": message.topic(), "partition": message.partition(),
                    "offset": message.offset(), "timestamp": message.timestamp()[1],
                    "key": key, "headers": headers, "value": text(value),
                })
            taken += 1
            if taken == args.count:
                break
    consumer.close()
    if args.summary:
        print_line(order.summary())


main()
