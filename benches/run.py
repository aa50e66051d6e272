#!/usr/bin/env python3
"""Compares the bridge with a bare loop of the SDK, on local accounts, in one run.

Builds release binaries, starts two local accounts, seeds the source with generated orders, then
copies it with one program after the other, each time into a fresh target container, and checks
that the target holds what the source holds. Prints a table and writes all figures as JSON.

Needs only the Rust toolchain and the standard library; the comparison with the Python SDK also
needs what tests/scripts/clients.sh installs, and is left out with --python 0.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Enough for groups of many sizes, and the same at every number of documents: with more customers a
# page would hold smaller groups and cost more requests with any copier.
CUSTOMERS = 1000
TARGET_KEY = ("/customer/region", "/customerId")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", default="10000,100000,300000", help="sizes, with commas")
    parser.add_argument("--bytes", type=int, default=1024, help="about how large a document is")
    parser.add_argument("--ranges", type=int, default=4, help="feed ranges of the source")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each program per size")
    parser.add_argument("--python", type=int, default=5000, help="documents for the Python loop")
    parser.add_argument("--only", choices=("bridge", "bare"), help="no comparison, for profiling")
    parser.add_argument("--no-build", action="store_true", help="the release binaries are there")
    parser.add_argument("--output", type=pathlib.Path, help="where the JSON goes")
    return parser.parse_args()


def build():
    """Each package on its own: features are unified within one build, and the bridge must be
    compared as it is shipped, without those that the local accounts switch on."""
    for package in ("cosmos-bridge", "cosmos-bridge-bench", "cosmos-bridge-emulator"):
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--package", package]
        subprocess.run(command, cwd=ROOT, check=True)
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "release"


def environment():
    """Backtraces are expensive in the SDK: it captures one for every error."""
    kept = {name: value for name, value in os.environ.items() if name != "RUST_BACKTRACE"}
    # Nor is the metadata address of an Azure machine asked: nothing leaves loopback here.
    return kept | {"RUST_LIB_BACKTRACE": "0", "COSMOS_DISABLE_IMDS": "1"}


class Accounts:
    """Two local accounts with a seeded source."""

    def __init__(self, binaries, documents, size, ranges):
        source = "source/shop/orders"
        command = [
            binaries / "cosmos-bridge-emulator", "--account", "source", "--account", "target",
            "--container", f"{source}=/id;partitions={ranges}",
            "--seed-orders", f"{source}={documents},bytes={size},customers={CUSTOMERS}",
            "--until-stdin-closes",
        ]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe)
        ready = json.loads(self.process.stdout.readline())
        self.management = ready["management"]
        self.accounts = {account["name"]: account for account in ready["accounts"]}
        self.documents = documents
        self.expected = self.checksum("source", "orders")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.management + path, data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def container(self, account, name):
        return f"/accounts/{account}/databases/shop/containers/{name}"

    def checksum(self, account, name):
        return self.ask("GET", self.container(account, name) + "/checksum")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def stats(self, counter):
        """`requests` or `request_units` by kind, of all containers."""
        found = {}
        for account in self.ask("GET", "/stats")["accounts"].values():
            for container in account["containers"].values():
                for kind, counters in container["kinds"].items():
                    found[kind] = found.get(kind, 0) + counters[counter]
        return found

    def measure(self, command, documents=None):
        """Runs a copy into a fresh container `copies`; gives what it took."""
        copies = self.container("target", "copies")
        self.ask("PUT", copies, {"partition_key": list(TARGET_KEY), "partitions": 4})
        self.ask("DELETE", "/stats")
        before, started = self.cpu_seconds(), time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, env=environment(), stdout=output, stderr=output)
            # Not Popen.wait: only wait4 returns the resource use of this process.
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode != 0:
            sys.exit(f"{command[0]} failed with {process.returncode}:\n{text}")
        accounts_cpu = self.cpu_seconds() - before
        copied = self.checksum("target", "copies")
        if documents is None and copied != self.expected:
            sys.exit(f"{command[0]} copied {copied}, and the source holds {self.expected}")
        if documents is not None and copied["documents"] != documents:
            sys.exit(f"{command[0]} copied {copied['documents']} of {documents} documents")
        requests, request_units = self.stats("requests"), sum(self.stats("request_units").values())
        self.ask("DELETE", copies)
        count = copied["documents"]
        return {
            "documents": count,
            "is_equal": copied == self.expected,
            "seconds": round(seconds, 3),
            "documents_per_second": round(count / seconds, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
            "cpu_seconds_per_100k": round((used.ru_utime + used.ru_stime) * 1e5 / count, 3),
            "accounts_cpu_seconds_per_100k": round(accounts_cpu * 1e5 / count, 3),
            "peak_mib": round(used.ru_maxrss / 1024, 1),
            "requests": requests,
            "request_units": round(request_units, 1),
            "output": text[-2000:],
        }


def bridge(binaries, accounts, folder, options="bulk = false\nconcurrency = 32\n"):
    """The command of the bridge, with fresh state. By default it sends the requests that the SDK has, as many at a time
    as the loop does."""
    for name, account in accounts.accounts.items():
        (folder / f"{name}.key").write_text(account["key"])
    tables = "\n".join(
        f'[accounts.{name}]\nendpoint = "{account["endpoint"]}"\nkey = {{ file = "{name}.key" }}\n'
        for name, account in accounts.accounts.items()
    )
    key = ", ".join(f'"{path}"' for path in TARGET_KEY)
    config = folder / "config.toml"
    config.write_text(f"""{tables}
[sinks.cosmos.archive]
account = "target"
database = "shop"
container = "copies"
{options}
[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
start = "beginning"

[[pipelines.orders.routes]]
to = "archive"
partition_key = [{key}]
""")
    return [binaries / "cosmos-bridge", "run", "--config", config, "--until-caught-up"]


def bare(binaries, accounts):
    command = [binaries / "bare-copy", "--source", "shop/orders", "--target", "shop/copies"]
    for side, account in accounts.accounts.items():
        command += [f"--{side}-endpoint", account["endpoint"], f"--{side}-key", account["key"]]
    return command


def python_loop(accounts, documents):
    clients = subprocess.run(
        [ROOT / "tests" / "scripts" / "clients.sh"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    python = dict(line.split("=", 1) for line in clients.splitlines())["python"]
    command = [python, ROOT / "tests" / "scripts" / "plain_copy.py", "--limit", str(documents)]
    for side, container in (("source", "orders"), ("target", "copies")):
        account = accounts.accounts[side]
        command += [
            f"--{side}-endpoint", account["endpoint"], f"--{side}-key", account["key"],
            f"--{side}-database", "shop", f"--{side}-container", container,
        ]
    return command


def compare(binaries, args, documents):
    """Pairs of runs at one size, one program after the other."""
    runs = {"bridge": [], "bare": []}
    with Accounts(binaries, documents, args.bytes, args.ranges) as accounts:
        for _ in range(args.pairs):
            if args.only != "bare":
                with tempfile.TemporaryDirectory() as folder:
                    command = bridge(binaries, accounts, pathlib.Path(folder))
                    runs["bridge"].append(accounts.measure(command))
                    show(documents, "bridge", runs["bridge"][-1])
            if args.only != "bridge":
                runs["bare"].append(accounts.measure(bare(binaries, accounts)))
                show(documents, "bare", runs["bare"][-1])
        if args.python and documents >= args.python and not args.only:
            run = accounts.measure(python_loop(accounts, args.python), args.python)
            # What it says of itself, without loading the SDK.
            result = json.loads(run["output"])
            run["documents_per_second"] = result["documents_per_second"]
            runs["python"] = [run]
            show(documents, "python", run)
    result = {"documents": documents, "runs": runs}
    if not args.only:
        result |= ratios(runs)
    return result


def ratios(runs):
    """Pair by pair, because the machine is not equally busy all the time."""
    found = {}
    for name in ("documents_per_second", "cpu_seconds_per_100k"):
        pairs = [a[name] / b[name] for a, b in zip(runs["bridge"], runs["bare"])]
        found[name + "_ratios"] = [round(ratio, 3) for ratio in pairs]
        found[name + "_ratio"] = round(statistics.median(pairs), 3)
    if "python" in runs:
        rate = statistics.median(run["documents_per_second"] for run in runs["bridge"])
        found["python_ratio"] = round(rate / runs["python"][0]["documents_per_second"], 1)
    return found


HEADING = "documents  program   documents/s  CPU s/100k  accounts CPU s/100k  peak MiB  requests"


def show(documents, program, run):
    print(
        f"{documents:>9}  {program:<8}{run['documents_per_second']:>13,.0f}"
        f"{run['cpu_seconds_per_100k']:>12.2f}{run['accounts_cpu_seconds_per_100k']:>21.2f}"
        f"{run['peak_mib']:>10.1f}  {sum(run['requests'].values()):>8}",
        flush=True,
    )


def main():
    args = arguments()
    if args.no_build:
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        binaries = pathlib.Path(target) / "release"
    else:
        binaries = build()
    print(HEADING)
    results = [compare(binaries, args, int(size)) for size in args.documents.split(",")]
    for result in results if not args.only else []:
        python = f", {result['python_ratio']} times Python" if "python_ratio" in result else ""
        print(
            f"{result['documents']:>9}  bridge to bare: {result['documents_per_second_ratio']} of "
            f"the documents per second, {result['cpu_seconds_per_100k_ratio']} of the CPU{python}"
        )
    report = {"bytes": args.bytes, "ranges": args.ranges, "sizes": results}
    if args.output:
        args.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
