"""What the readers of the brokers share: how a message is printed, and the check of its order."""

import base64
import json


def text(value):
    """Bytes as text where they are UTF-8, else as {"base64": ...}; None stays None."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, dict):
        return {key: text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    return str(value)


def print_line(record):
    print(json.dumps(record, ensure_ascii=False), flush=False)


def at(document, pointer):
    """The value at a JSON pointer such as /a/b, or None."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


class Order:
    """
    Checks what a consumer may rely on when messages can come again.

    For one key, a value that arrives for the first time has to be later than all before it
    (`out_of_order` counts what is not), and the last message has to be the latest of the key
    (`ends_stale` counts keys where it is not: a consumer that keeps the last would keep an old one).
    Repetitions are counted in `duplicates`. Sequences are compared as numbers where they are digits.
    """

    def __init__(self):
        self.messages = 0
        self.seen = {}
        self.latest = {}
        self.last = {}
        self.out_of_order = 0
        self.unnumbered = 0
        self.examples = []

    @staticmethod
    def comparable(sequence):
        if isinstance(sequence, str) and sequence.isdigit():
            return int(sequence)
        return sequence

    def take(self, key, sequence):
        self.messages += 1
        if sequence is None:
            self.unnumbered += 1
            return
        sequence = self.comparable(sequence)
        seen = self.seen.setdefault(key, set())
        if sequence not in seen:
            if key in self.latest and sequence < self.latest[key]:
                self.out_of_order += 1
                if len(self.examples) < 5:
                    self.examples.append([key, self.latest[key], sequence])
            self.latest[key] = max(sequence, self.latest.get(key, sequence))
            seen.add(sequence)
        self.last[key] = sequence

    def summary(self):
        distinct = sum(len(seen) for seen in self.seen.values())
        return {
            "messages": self.messages,
            "distinct": distinct,
            "duplicates": self.messages - self.unnumbered - distinct,
            "keys": len(self.seen),
            "out_of_order": self.out_of_order,
            "ends_stale": sum(self.last[key] != latest for key, latest in self.latest.items()),
            "unnumbered": self.unnumbered,
            "examples": self.examples,
        }


def sequence_of(args, attributes, body):
    """The sequence by which a message is ordered: an attribute of this name, or a field of the body."""
    if args.sequence.startswith("/"):
        return at(json.loads(body), args.sequence) if body else None
    for name in (args.sequence, "ce_" + args.sequence, "ce-" + args.sequence, "cloudEvents_" + args.sequence):
        if name in attributes:
            return attributes[name]
    if body:
        return at(json.loads(body), "/" + args.sequence)
    return None


def add_arguments(parser):
    """The arguments that are the same for every broker."""
    parser.add_argument("--count", type=int, help="stop after this number of messages; without it, at the end")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for everything; then fail")
    parser.add_argument("--summary", action="store_true", help="print one line about order, no messages")
    parser.add_argument(
        "--sequence", default="sequence",
        help="what orders the messages of a key: an attribute's name, or a JSON pointer into the body")
    parser.add_argument(
        "--key", default=None, help="JSON pointer into the body to the key; else the message's own key")


def key_of(args, key, body):
    if args.key:
        return json.dumps(at(json.loads(body), args.key)) if body else None
    return key
