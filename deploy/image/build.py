"""Runs the build stages of the Dockerfile on this machine, without a container engine, and tells what
came out: the binary's size, its dynamic links, and whether the final base has them.

The steps are read from the Dockerfile, so that there is one place for them. Stages become folders below
--work; COPY takes what .dockerignore lets through. A full build takes minutes.

Usage: python deploy/image/build.py --work FOLDER      with the interpreter that tests/deploy_tools.sh prints
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pathspec
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
# What gcr.io/distroless/cc-debian12 has of the C library and the compiler's.
BASE_LIBRARIES = {
    "linux-vdso.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
    "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1",
}  # fmt: skip
# The C library of Debian 12.
BASE_GLIBC = (2, 36)


def stages(path=DOCKERFILE):
    """The stages in order: name, what it begins with, and its instructions as (instruction, value)."""
    found = []
    with path.open("rb") as file:
        for step in DockerfileParser(fileobj=file).structure:
            instruction, value = step["instruction"], step["value"]
            if instruction == "FROM":
                base, _, name = re.match(r"(\S+)( +AS +(\S+))?$", value, re.I).groups()
                found.append({"name": name, "base": base, "steps": []})
            elif found and instruction != "COMMENT":
                found[-1]["steps"].append((instruction, value))
    return found


def context():
    """The files of the checkout that the engine would be given."""
    ignored = pathspec.PathSpec.from_lines(
        "gitwildmatch", (ROOT / ".dockerignore").read_text().splitlines()
    )
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    return [name for name in listed if name and not ignored.match_file(name)]


def run_stage(stage, folders, work, environment):
    """Carries out one build stage in a folder of its own. Anything it does not know ends the program."""
    top = work / stage["name"]
    here = top
    if stage["base"] in folders:
        base, inherited = folders[stage["base"]]
        shutil.copytree(base, top, symlinks=True)
        here = top / inherited
    else:
        top.mkdir(parents=True)
    for instruction, value in stage["steps"]:
        print(f"build: {stage['name']}: {instruction} {' '.join(value.split())}", flush=True)
        if instruction == "WORKDIR":
            here = top / value.lstrip("/")
            here.mkdir(parents=True, exist_ok=True)
        elif instruction == "RUN":
            began = time.monotonic()
            subprocess.run(["sh", "-ec", value], cwd=here, env=environment, check=True)
            print(f"build: took {time.monotonic() - began:.0f} s", flush=True)
        elif instruction == "COPY" and value == ". .":
            for name in context():
                target = here / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # The times stay, as an engine keeps them: cargo goes by them.
                shutil.copy2(ROOT / name, target)
        elif instruction == "COPY" and (copy := re.match(r"--from=(\S+) /(\S+) (\S+)$", value)):
            other, source, target = copy.groups()
            shutil.copy2(folders[other][0] / source, here / target)
        else:
            sys.exit(f"build: {instruction} {value}: not a step that this program knows")
    # A stage that begins with this one also begins in its folder.
    folders[stage["name"]] = (top, here.relative_to(top))


def links(binary):
    """The libraries that the binary asks for, and the newest version of the C library among them."""
    shown = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    names = {Path(line.split()[0]).name for line in shown.splitlines()}
    symbols = subprocess.run(["objdump", "-T", binary], check=True, capture_output=True, text=True)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", symbols.stdout)
    return names, max((int(major), int(minor)) for major, minor in versions)


def report(binary):
    """Prints size and links, and fails if the base of the image lacks one."""
    names, glibc = links(binary)
    print(f"build: {binary}: {binary.stat().st_size / 1e6:.1f} MB")
    for name in sorted(names):
        print(f"build: links {name}")
    print(f"build: needs a C library from {glibc[0]}.{glibc[1]} on; the base has {BASE_GLIBC[0]}.{BASE_GLIBC[1]}")
    if lacking := names - BASE_LIBRARIES:
        sys.exit(f"build: the base of the image does not have {', '.join(sorted(lacking))}")
    if glibc > BASE_GLIBC:
        sys.exit("build: the base of the image has an older C library: build on the Debian of the base")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--work", type=Path, help="a folder that does not exist yet, for the stages")
    arguments.add_argument("--report", type=Path, metavar="BINARY", help="only tell about this binary")
    chosen = arguments.parse_args()
    if chosen.report:
        return report(chosen.report)
    if not chosen.work or chosen.work.exists():
        sys.exit("build: --work names a folder that does not exist yet")
    work = chosen.work.resolve()
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    environment["CARGO_INSTALL_ROOT"] = str(work / "tools")
    environment["PATH"] = f"{work / 'tools' / 'bin'}:{environment['PATH']}"
    folders = {}
    found = stages()
    for stage in found[:-1]:
        run_stage(stage, folders, work, environment)
    # Where the last stage takes the binary from.
    (source,) = [
        re.match(r"--from=(\S+) /(\S+) /usr/local/bin/cosmos-bridge$", value)
        for instruction, value in found[-1]["steps"]
        if instruction == "COPY" and value.endswith("/usr/local/bin/cosmos-bridge")
    ]
    report(folders[source[1]][0] / source[2])


if __name__ == "__main__":
    main()
