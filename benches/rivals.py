#!/usr/bin/env python3
"""Compares the bridge with other programs that copy a container, on local accounts, in pairs of runs.

- java: Java's Change Feed Processor with the SDK's bulk writer (benches/rivals/Copy.java).
- go: the Go SDK, single upserts (benches/rivals/copy.go).
- js: the JavaScript SDK's iterator and bulk calls (benches/rivals/copy.mjs).
- FILE: the bridge's binary of an earlier version.

Each run copies into a fresh container, which must end with the checksum of the source, except with js: that SDK rounds
whole numbers above 2^53. CPU and memory are those of the copying process. Needs the Rust toolchain and what
tests/scripts/clients.sh installs.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import run

KEYS = {"id": ("/id",), "grouped": ("/customer/region", "/customerId")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=1024, help="about how large a document is")
    parser.add_argument("--ranges", type=int, default=4, help="feed ranges of the source")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each program per case")
    parser.add_argument("--keys", default="id,grouped", help="target keys: id, grouped")
    parser.add_argument("--delays", default="0,5,80", help="milliseconds that each answer takes longer")
    parser.add_argument("--rival", default="java", help="java, go, js, or the file of an earlier bridge")
    parser.add_argument("--options", default="", help="lines for the bridge's sink, separated by ;")
    parser.add_argument("--binaries", type=pathlib.Path, help="a folder of built binaries")
    parser.add_argument("--output", type=pathlib.Path, help="where the JSON goes")
    return parser.parse_args()


def rival_command(name, folder):
    """The command that runs the copy, without its arguments."""
    clients = subprocess.run(
        [run.ROOT / "tests/scripts/clients.sh"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    found = dict(line.split("=", 1) for line in clients.splitlines())
    sources = run.ROOT / "benches/rivals"
    if name == "js":
        return [found["node"], sources / "copy.mjs", found["node_modules"]]
    if name == "go":
        # In the module of the tests, which pins the SDK.
        build = ["go", "build", "-buildvcs=false", "-o", f"{folder}/copy", sources / "copy.go"]
        subprocess.run(build, cwd=run.ROOT / "testing/emulator/tests/go", check=True)
        return [f"{folder}/copy"]
    # The compiler also expands the wildcard of the libraries.
    source = sources / "Copy.java"
    subprocess.run(["javac", "-d", folder, "-cp", found["java_classpath"], source], check=True)
    return [
        found["java"], "-DCOSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{folder}:{found['java_classpath']}", "Copy",
    ]


def rival(command, accounts, key):
    accounts.ask("PUT", accounts.container("source", "leases"), {"partition_key": ["/id"], "partitions": 1})
    access = [accounts.accounts[side][part] for side in ("source", "target") for part in ("endpoint", "key")]
    return [*command, *access, str(accounts.documents), *key]


def bridge(binary, accounts, key, options, folder):
    run.TARGET_KEY = key
    command = run.bridge(binary.parent, accounts, folder, options.replace(";", "\n") + "\n")
    return [binary, *command[1:]]


def delay(accounts, milliseconds):
    accounts.ask("DELETE", "/faults")
    if milliseconds:
        for account in ("source", "target"):
            rule = {"account": account, "operation": "documents", "then": {"delay_ms": milliseconds}}
            accounts.ask("POST", "/faults", rule)


def compare(accounts, theirs, ours, pairs, is_exact):
    """Runs in the order A B, B A, A B, because a machine grows warmer or busier."""
    runs = {"bridge": [], "rival": []}
    for pair in range(pairs):
        programs = [("bridge", ours, True), ("rival", theirs, is_exact)]
        for name, command, exact in programs if pair % 2 == 0 else reversed(programs):
            documents = None if exact else accounts.documents
            with tempfile.TemporaryDirectory() as folder:
                runs[name].append(accounts.measure(command(pathlib.Path(folder)), documents))
    return runs


def median(runs, figure):
    return statistics.median(figure(one) for one in runs)


def report(case, runs, pairs):
    def ratio(name):
        return statistics.median(a[name] / b[name] for a, b in zip(runs["bridge"], runs["rival"]))

    row = dict(case, pairs=pairs)
    for name in ("documents_per_second", "cpu_seconds_per_100k", "peak_mib", "request_units"):
        row[name] = [round(median(runs[of], lambda one: one[name]), 2) for of in ("bridge", "rival")]
        row[name + "_ratio"] = round(ratio(name), 3)
    row["requests"] = [
        round(median(runs[of], lambda one: sum(one["requests"].values()))) for of in ("bridge", "rival")
    ]
    row["is_equal"] = [all(one["is_equal"] for one in runs[of]) for of in ("bridge", "rival")]
    print(json.dumps(row), flush=True)
    return row | {"runs": runs}


def main():
    args = arguments()
    binaries = args.binaries or run.build()
    rows = []
    with (
        tempfile.TemporaryDirectory() as classes,
        run.Accounts(binaries, args.documents, args.bytes, args.ranges) as accounts,
    ):
        is_bridge = args.rival not in ("java", "go", "js")
        command = None if is_bridge else rival_command(args.rival, classes)
        for key in args.keys.split(","):
            for milliseconds in map(int, args.delays.split(",")):
                delay(accounts, milliseconds)
                paths = KEYS[key]

                def ours(folder, paths=paths):
                    return bridge(binaries / "cosmos-bridge", accounts, paths, args.options, folder)

                def theirs(folder, paths=paths):
                    if is_bridge:
                        return bridge(pathlib.Path(args.rival), accounts, paths, "", folder)
                    return rival(command, accounts, paths)

                runs = compare(accounts, theirs, ours, args.pairs, args.rival != "js")
                case = {"rival": args.rival, "key": key, "delay_ms": milliseconds}
                rows.append(report(case, runs, args.pairs))
    if args.output:
        args.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
