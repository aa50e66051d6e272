"""
Topics, rights and messages of a Kafka under test, with confluent-kafka.

Usage: kafka_admin.py --bootstrap HOST:PORT create TOPIC PARTITIONS [key=value ...]
       kafka_admin.py --bootstrap HOST:PORT delete TOPIC
       kafka_admin.py --bootstrap HOST:PORT allow USER TOPIC OPERATION
       kafka_admin.py --bootstrap HOST:PORT deny USER TOPIC OPERATION      what was allowed
       kafka_admin.py --bootstrap HOST:PORT password USER PASSWORD
       kafka_admin.py --bootstrap HOST:PORT send TOPIC [KEY VALUE ...]
"""

import argparse
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, NewTopic,
    ResourcePatternType, ResourceType, ScramCredentialInfo, ScramMechanism,
    UserScramCredentialUpsertion)

SECONDS = 30


def right(kind, user, topic, operation):
    return kind(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*",
        AclOperation[operation.upper()], AclPermissionType.ALLOW)


def settle(futures):
    for future in futures.values():
        future.result(SECONDS)


def until_rights(admin, rights, exist):
    """Waits until the broker knows rights that the controller has stored or deleted."""
    deadline = time.monotonic() + SECONDS
    while bool(admin.describe_acls(right(AclBindingFilter, *rights)).result(SECONDS)) != exist:
        if time.monotonic() > deadline:
            sys.exit(f"{rights}: the broker has not applied the change within {SECONDS} s")
        time.sleep(0.05)


def send(bootstrap, topic, *pairs):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        producer.produce(
            topic, value.encode(), key.encode(),
            on_delivery=lambda error, _: error and failures.append(error))
    if producer.flush(SECONDS) or failures:
        sys.exit(f"{topic}: not delivered: {failures}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("command", choices=["create", "delete", "allow", "deny", "password", "send"])
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    admin = AdminClient({"bootstrap.servers": args.bootstrap})
    if args.command == "create":
        topic, partitions, *options = args.rest
        config = dict(option.split("=", 1) for option in options)
        settle(admin.create_topics([NewTopic(topic, int(partitions), 1, config=config)]))
    elif args.command == "delete":
        settle(admin.delete_topics(args.rest))
    elif args.command == "allow":
        settle(admin.create_acls([right(AclBinding, *args.rest)]))
        until_rights(admin, args.rest, exist=True)
    elif args.command == "deny":
        settle(admin.delete_acls([right(AclBindingFilter, *args.rest)]))
        until_rights(admin, args.rest, exist=False)
    elif args.command == "password":
        user, password = args.rest
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            info = ScramCredentialInfo(mechanism, 4096)
            settle(admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(user, info, password.encode())]))
    else:
        send(args.bootstrap, *args.rest)


main()
