"""Runs the steps of the Dockerfile on this machine, without a container engine, and prints the size of the
binary, its dynamic links, whether the base image has them, and how the image starts.

The steps are read from the Dockerfile, so that they are defined once. Stages become folders below
--work, and the final one becomes --work/root; COPY respects .dockerignore. The base image
is not downloaded: libraries and certificates come from this machine. A full build takes many minutes; --binary skips
the steps that build the binary.

Usage: python deploy/image/build.py --work FOLDER [--binary FILE]

with the interpreter that tests/scripts/deploy_tools.sh prints. The last line of the output is one JSON object:
{"root": folder, "command": arguments, "user": number, "group": number, "folder": working directory}
"""

import argparse
import json
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
# The libraries of C library and compiler in gcr.io/distroless/cc-debian12.
BASE_LIBRARIES = {
    "linux-vdso.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
    "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1",
}  # fmt: skip
# The C library of Debian 12.
BASE_GLIBC = (2, 36)
# Libraries that the feature `static`, used for the image, links into the binary.
STATIC = {"libssl.so.3", "libcrypto.so.3", "libz.so.1"}


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
    # The engine matches each pattern from the root, Git only patterns with a slash.
    # https://docs.docker.com/build/concepts/context/#dockerignore-files
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    lines = [re.sub(r"^(!?)/?(?=[^#])", r"\1/", line) for line in lines if line.strip()]
    ignored = pathspec.PathSpec.from_lines("gitwildmatch", lines)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    return [name for name in listed if name and not ignored.match_file(name)]


def copied(step):
    """A COPY from another stage: its name, source, target, and the owner or None."""
    found = re.match(r"--from=(\S+) (?:--chown=(\d+):(\d+) )?/(\S+) (\S+)$", step)
    if not found:
        sys.exit(f"build: COPY {step}: not a step that this program knows")
    name, user, group, source, target = found.groups()
    return name, source, target, user and (int(user), int(group))


def run_stage(stage, folders, work, environment):
    """Runs one build stage in a separate folder."""
    top = work / stage["name"]
    here = top
    if stage["base"] in folders:
        base, inherited = folders[stage["base"]]
        shutil.copytree(base, top, symlinks=True)
        here = top / inherited
    else:
        top.mkdir(parents=True)
    here = run_steps(stage["name"], stage["steps"], top, here, folders, environment)
    # A stage based on this one also starts in its folder.
    folders[stage["name"]] = (top, here.relative_to(top))


def run_steps(name, steps, top, here, folders, environment):
    """Carries out steps in the folder `here`, and returns that in which they end. Anything it does not
    know ends the program."""
    for instruction, value in steps:
        print(f"build: {name}: {instruction} {' '.join(value.split())}", flush=True)
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
                # Keeps the times, as an engine does: cargo compares them.
                shutil.copy2(ROOT / name, target)
        elif instruction == "COPY":
            other, source, target, _ = copied(value)
            shutil.copy2(folders[other][0] / source, here / target)
        else:
            sys.exit(f"build: {instruction} {value}: not a step that this program knows")
    return here


def install(stage, folders, work, environment, binary):
    """Carries out what a build stage does after it has built this binary."""
    top = work / stage["name"]
    here = top / "src"
    (here / "target" / "release").mkdir(parents=True)
    shutil.copy2(binary, here / "target" / "release" / "cosmos-bridge")
    built = max(n for n, (_, value) in enumerate(stage["steps"]) if value.startswith("cargo build "))
    run_steps(stage["name"], stage["steps"][built + 1 :], top, here, folders, environment)
    folders[stage["name"]] = (top, "src")


def lay_out(stage, folders, root):
    """Makes the file system of the image: what the final stage copies, and how it is started."""
    start = {"root": str(root)}
    for instruction, value in stage["steps"]:
        if instruction == "COPY":
            owner = None
            if value.startswith("--"):
                name, source, target, owner = copied(value)
                source = folders[name][0] / source
            else:
                source, target = value.split()
                source = ROOT / source
            target = root / target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
            # Without root, the current user owns all files.
            if owner and os.geteuid() == 0:
                os.chown(target, *owner)
        elif instruction == "USER":
            start["user"], start["group"] = (int(number) for number in value.split(":"))
        elif instruction == "WORKDIR":
            start["folder"] = value
        elif instruction in ("ENTRYPOINT", "CMD"):
            start["command"] = start.get("command", []) + json.loads(value)
        elif instruction not in ("ARG", "LABEL", "EXPOSE", "STOPSIGNAL"):
            sys.exit(f"build: {instruction} {value}: not a step that this program knows")
    return start


def base(binary, root):
    """Puts what the base of the image has where it has it: what the binary links, and the certificates of
    public authorities, without which no client of TLS is made."""
    shown = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    for file in [*re.findall(r"(/\S+) \(0x", shown), "/etc/ssl/certs/ca-certificates.crt"]:
        target = root / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o555 if ".so" in file else 0o444)


def links(binary):
    """The libraries that the binary asks for, and the newest version of the C library among them."""
    shown = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    names = {Path(line.split()[0]).name for line in shown.splitlines()}
    symbols = subprocess.run(["objdump", "-T", binary], check=True, capture_output=True, text=True)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", symbols.stdout)
    return names, max((int(major), int(minor)) for major, minor in versions)


def report(binary, released=True):
    """Prints size and links, and fails if the base of the image lacks one. One that is not released may
    link more, and the C library of this machine."""
    names, glibc = links(binary)
    print(f"build: {binary}: {binary.stat().st_size / 1e6:.1f} MB")
    for name in sorted(names):
        print(f"build: links {name}")
    print(f"build: needs a C library from {glibc[0]}.{glibc[1]} on; the base has {BASE_GLIBC[0]}.{BASE_GLIBC[1]}")
    if lacking := names - BASE_LIBRARIES - (set() if released else STATIC):
        sys.exit(f"build: the base of the image does not have {', '.join(sorted(lacking))}")
    if released and glibc > BASE_GLIBC:
        sys.exit("build: the base of the image has an older C library: build on the Debian of the base")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--work", type=Path, help="a folder that does not exist yet, for the stages")
    arguments.add_argument("--binary", type=Path, help="builds nothing: the image is to have this one")
    chosen = arguments.parse_args()
    if not chosen.work or chosen.work.exists():
        sys.exit("build: --work names a folder that does not exist yet")
    work = chosen.work.resolve()
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    environment["CARGO_INSTALL_ROOT"] = str(work / "tools")
    environment["PATH"] = f"{work / 'tools' / 'bin'}:{environment['PATH']}"
    folders = {}
    *builds, final = stages()
    if chosen.binary:
        install(builds[-1], folders, work, environment, chosen.binary)
    else:
        for stage in builds:
            run_stage(stage, folders, work, environment)
    start = lay_out(final, folders, work / "root")
    binary = work / "root" / start["command"][0].lstrip("/")
    report(binary, released=not chosen.binary)
    base(binary, work / "root")
    print(json.dumps(start))


if __name__ == "__main__":
    main()
