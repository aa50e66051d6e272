"""Checks the files below deploy/: one subcommand for each kind. Ends with 0 only if all is well.

Usage: python tests/scripts/deploy/check.py image|systemd|helm|compose|azure|monitoring|yaml

compose and azure ask the program that the environment variable BRIDGE names about their configurations.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "cosmos-bridge"
# The oldest and the newest that the schemas know of those that the chart admits.
KUBERNETES = ["1.29", "1.37"]
# Kinds that come with an operator, so that Kubernetes has no schema.
CUSTOM = {"ServiceMonitor"}
# Values that switch everything on.
EVERYTHING = {
    "image": {"repository": "registry.example/cosmos-bridge", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "pull"}],
    "secrets": {"existing": "keys", "env": {"SOURCE_KEY": "source.key"}},
    "workloadIdentity": {"enabled": True, "clientId": "id", "tenantId": "tenant"},
    "state": {"size": "2Gi", "storageClass": "premium"},
    "admin": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "tokenKey": "token"}
    },
    "networkPolicy": {
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 9093}]}],
        "scrapeFrom": [],
    },
    "podDisruptionBudget": {"enabled": True},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "data"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}


def run(*command):
    """The output of a command; what it says against it ends the program."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def ensure(holds, what):
    if not holds:
        sys.exit(what)


def image():
    run(Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", DEPLOY / "image" / "Dockerfile")
    text = (DEPLOY / "image" / "Dockerfile").read_text()
    channel = re.search(r'channel = "(.+)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    ensure(f"rust:{channel}-" in text, f"the Dockerfile does not build with Rust {channel}")
    ensure(re.search(r"^USER \d+:\d+$", text, re.M), "the image does not run as a user by number")
    sys.path.insert(0, str(DEPLOY / "image"))
    import build

    # Cargo reads the manifests of all members, whichever it builds.
    given = build.context()
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for member in sorted(path.relative_to(ROOT) for m in members for path in ROOT.glob(f"{m}/Cargo.toml")):
        ensure(str(member) in given, f".dockerignore keeps {member} from the engine")
        sources = f"{member.parent}/src/".removeprefix("./")
        ensure(any(name.startswith(sources) for name in given), f".dockerignore keeps {sources} from the engine")


def systemd():
    folder = DEPLOY / "systemd"
    unit = (folder / "cosmos-bridge.service").read_text()
    with tempfile.TemporaryDirectory() as scratch:
        # The program need not be installed here.
        copy = Path(scratch) / "cosmos-bridge.service"
        copy.write_text(unit.replace("/usr/local/bin/cosmos-bridge", "/bin/true"))
        done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
        ensure(not done.returncode and not done.stderr, f"systemd-analyze verify:\n{done.stderr}")
        shown = run("systemd-analyze", "security", "--offline=true", "--no-pager", copy)
        exposure = float(re.search(r"Overall exposure level .*: ([\d.]+)", shown)[1])
        # systemd calls it OK below 5 and above 1.
        ensure(exposure < 2, f"systemd-analyze security: {exposure}\n{shown}")
        (Path(scratch) / "etc").mkdir()
        run("systemd-sysusers", f"--root={scratch}", "--dry-run", folder / "cosmos-bridge.sysusers")
    codes = {int(c) for c in re.search(r"RestartPreventExitStatus=(.+)", unit)[1].split()}
    documented = {int(c) for c in re.findall(r"^\| (\d+) \|", (ROOT / "docs/exit-codes.md").read_text(), re.M)}
    ensure(codes <= documented, f"docs/exit-codes.md does not know exit codes {codes - documented}")
    print(f"exposure {exposure}")


def render(values, name="orders"):
    """The chart's objects, by kind, and each validated."""
    import kubernetes_validate
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        texts = chart.render(values=values, name=name, namespace="data")
    objects = {}
    for path, text in texts.items():
        for document in yaml.safe_load_all(text) if path.endswith(".yaml") else []:
            if document is None:
                continue
            if document["kind"] not in CUSTOM:
                for version in KUBERNETES:
                    kubernetes_validate.validate(document, version, strict=True)
            ensure(document["kind"] not in objects, f"{document['kind']} twice")
            objects[document["kind"]] = document
    return objects


def helm():
    from helm_python import lint

    for values in ({}, EVERYTHING):
        found = lint(CHART, values, strict=True)
        serious = [m for m in found["messages"] if m["severity"] > 1]
        ensure(not serious and not found["errors"], f"helm lint: {found}")
        objects = render(values)
        restricted(objects["StatefulSet"]["spec"]["template"]["spec"])
        for endpoint in objects.get("ServiceMonitor", {"spec": {"endpoints": []}})["spec"]["endpoints"]:
            ensure(endpoint["honorLabels"] is True, "the label `container` of the metrics would be renamed")
        print(f"{len(objects)} objects: {', '.join(sorted(objects))}")
    try:
        render({"replicas": 2})
    except Exception as error:
        ensure("replicas" in str(error), f"refused for another reason: {error}")
    else:
        sys.exit("the chart takes values that it does not know")


def restricted(pod):
    """Kubernetes' Pod Security Standard `restricted`, and a root that nothing can write to."""
    ensure(pod["securityContext"]["runAsNonRoot"] is True, "runAsNonRoot")
    ensure(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, "seccompProfile")
    allowed = {"configMap", "projected", "secret", "persistentVolumeClaim", "emptyDir", "name"}
    for volume in pod["volumes"]:
        ensure(set(volume) <= allowed, f"volume {volume}")
    for container in pod["containers"]:
        context = container["securityContext"]
        ensure(context["allowPrivilegeEscalation"] is False, "allowPrivilegeEscalation")
        ensure(context["capabilities"] == {"drop": ["ALL"]}, "capabilities")
        ensure(context["readOnlyRootFilesystem"] is True, "readOnlyRootFilesystem")


def compose():
    from compose_spec import PyCompose

    folder = DEPLOY / "compose"
    text = (folder / "compose.yaml").read_text()
    PyCompose.from_yaml(text)
    try:
        PyCompose.from_yaml(text.replace("healthcheck:", "healthchek:", 1))
    except Exception as error:
        ensure("healthchek" in str(error), f"refused for another reason: {error}")
    else:
        sys.exit("what checks Compose files takes keys that are none")
    spec = yaml.safe_load(text)
    bridge = spec["services"]["bridge"]
    ensure(bridge["read_only"] and bridge["cap_drop"] == ["ALL"], "the bridge is not confined")
    ensure(int(bridge["stop_grace_period"].removesuffix("s")) > 30, "stop_grace_period")
    for kind in ("configs", "secrets"):
        for name, source in spec[kind].items():
            ensure((folder / source["file"]).is_file(), f"{kind}.{name}: no file {source['file']}")
            users = [s for s in spec["services"].values() if name in str(s.get(kind, []))]
            ensure(users, f"{kind}.{name} is not used by any service")
    for name, service in spec["services"].items():
        for port in service.get("ports", []):
            ensure(port.startswith("127.0.0.1:"), f"{name} is open to others: {port}")
    config = (folder / "config.toml").read_text()
    mounted = {f"/run/secrets/{name}" for name in bridge["secrets"]}
    ensure(set(re.findall(r'file = "(/run/.+?)"', config)) == mounted, "config.toml and its secrets differ")
    entities(folder, tomllib.loads(config)["sinks"], spec["services"])
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "config.toml"
        copy.write_text(config.replace("/run/", f"{folder}/").replace("/var/lib/cosmos-bridge", scratch))
        print(run(os.environ["BRIDGE"], "check", "--config", copy))


def entities(folder, sinks, services):
    """What the sinks of config.toml name is what the brokers are given."""
    namespace = json.loads((folder / "eventhubs.json").read_text())["UserConfig"]["NamespaceConfig"][0]
    hubs = {entity["Name"] for entity in namespace["Entities"]}
    ensure(sinks["eventhubs"]["hub"]["hub"] in hubs, f"config.toml names a hub that is not one of {hubs}")
    topic = f"--topic={sinks['kafka']['events']['topic']}"
    ensure(topic in services["topics"]["command"], f"no service creates {topic}")
    rabbit = json.loads((folder / "rabbitmq.json").read_text())
    bound = {binding["source"] for binding in rabbit["bindings"]}
    ensure(sinks["amqp"]["changes"]["exchange"] in bound, f"config.toml names none of {bound}")
    made = re.findall(r'_if_not_exists\("(\w+)"', (folder / "shop.py").read_text())
    ensure(sinks["cosmos"]["archive"]["container"] in made, f"config.toml names none of {made}")


def azure():
    import bicep

    bicep.check()
    with tempfile.TemporaryDirectory() as scratch:
        copy, config = Path(scratch) / "config.toml", (DEPLOY / "azure" / "config.toml").read_text()
        ensure("IDENTITY_CLIENT_ID" in config, "config.toml has no place for the identity")
        config = config.replace("IDENTITY_CLIENT_ID", "00000000-0000-0000-0000-000000000000")
        copy.write_text(config.replace("/var/lib/cosmos-bridge", scratch))
        print(run(os.environ["BRIDGE"], "check", "--config", copy))
    tools = dict(line.split("=", 1) for line in run(ROOT / "tests" / "scripts" / "clients.sh", "--check").splitlines())
    kql = [tools["node"], ROOT / "tests" / "scripts" / "deploy" / "kql.js", DEPLOY / "azure" / "queries.kql"]
    print(run("env", f"NODE_PATH={tools['node_modules']}", *kql))
def monitoring():
    import monitoring

    try:
        monitoring.check()
    except monitoring.Wrong as error:
        sys.exit(str(error))


def yaml_files():
    files = [p for p in DEPLOY.rglob("*.y*ml") if "templates" not in p.parts]
    rules = "{extends: default, rules: {line-length: {max: 120, allow-non-breakable-inline-mappings: true}, document-start: disable, comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}}}"
    run(Path(sys.executable).with_name("yamllint"), "--strict", "-d", rules, *files)


if __name__ == "__main__":
    kinds = {
        "image": image,
        "systemd": systemd,
        "helm": helm,
        "compose": compose,
        "azure": azure,
        "monitoring": monitoring,
        "yaml": yaml_files,
    }
    kinds[sys.argv[1]]()
