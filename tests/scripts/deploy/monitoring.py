"""Checks alert rules, dashboard and runbook against docs/metrics.md, which tests/admin ties to the program.

PromQL is parsed, and of each part of an expression the labels that its result has are worked out, so that a
metric or a label that is misspelt is found in any of them.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser as promql
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook.md"
# What Prometheus adds to each series.
TARGET = {"job", "instance"}


class Wrong(Exception):
    """Says what is wrong, and where."""


def ensure(holds, what):
    if not holds:
        raise Wrong(what)


def documented():
    """Name of each series: its labels, each with the words it may have (None: any)."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    series = {"up": dict.fromkeys(TARGET)}
    row = r"^\| `(\w+)` \| (counter|gauge|histogram|info) \| *(.*?) *\| (.*) \|$"
    for name, kind, labels, meaning in re.findall(row, text, re.M):
        known = dict.fromkeys(TARGET)
        for label in re.findall(r"`(\w+)`", labels):
            listed = re.search(rf"`{label}` is ([^;]*)", meaning)
            known[label] = set(re.findall(r"`(\w+)`", listed[1])) if listed else None
        if "direction" in known:
            known["direction"] = {"read", "write"}
        if kind == "histogram":
            series |= {name + "_count": known, name + "_sum": known, name + "_bucket": known | {"le": None}}
        else:
            series[name] = known
    ensure(len(series) == text.count("\n| `cosmos_") + text.count("\n| `process_") + 1 + 2, "docs/metrics.md: its tables are not understood")
    return series


def labels_of(node, series):
    """The labels that the result of an expression may have."""
    match node:
        case promql.VectorSelector():
            return selected(node, series)
        case promql.MatrixSelector():
            return selected(node.vector_selector, series)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(node.expr, series)
        case promql.Call():
            found = set().union(*(labels_of(part, series) for part in node.args))
            return found - {"le"} if node.func.name == "histogram_quantile" else found
        case promql.AggregateExpr():
            inner = labels_of(node.expr, series)
            if str(node.op) in ("topk", "bottomk"):
                return inner
            return narrowed(inner, node.modifier, inner) if node.modifier else set()
        case promql.BinaryExpr():
            left, right = labels_of(node.lhs, series), labels_of(node.rhs, series)
            matching = node.modifier and node.modifier.matching
            if matching:
                # What is joined on has to be on both sides.
                narrowed(left, matching, left | right)
                if "By" in str(matching.type) or "Include" in str(matching.type):
                    narrowed(right, matching, left | right)
            return left | right if str(node.op) == "or" else left or right
        case promql.NumberLiteral() | promql.StringLiteral():
            return set()
    raise Wrong(f"{type(node).__name__} is not understood")


def narrowed(labels, modifier, known):
    named = set(modifier.labels)
    keeps = any(word in str(modifier.type) for word in ("By", "Include"))
    missing = named - (labels if keeps else known)
    ensure(not missing, f"no label {missing} in what has {sorted(labels)}")
    return labels & named if keeps else labels - named


def selected(selector, series):
    known = series.get(selector.name)
    ensure(known is not None, f"no metric {selector.name}")
    for matcher in selector.matchers.matchers:
        ensure(matcher.name in known, f"{selector.name} has no label {matcher.name}")
        words = known[matcher.name]
        if words is not None and not matcher.value.startswith("$"):
            unknown = set(matcher.value.split("|")) - words
            ensure(not unknown, f"{selector.name}: {matcher.name} is never {unknown}")
    return set(known)


def query(text, series, where):
    try:
        return labels_of(promql.parse(text.replace("$__rate_interval", "5m")), series)
    except (Wrong, ValueError) as error:
        raise Wrong(f"{where}: {error}\n{text}") from error


def alerts(series):
    for command in (["check", "rules", RULES], ["test", "rules", RULE_TESTS]):
        ensure(shutil.which("promtool"), "promtool is missing; run tests/scripts/deploy_tools.sh")
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        ensure(not done.returncode, f"promtool {command[0]} rules:\n{done.stdout}{done.stderr}")
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    ensure(len(set(names)) == len(names), "an alert has two rules")
    tried = {}
    for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            tried.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
        for given in case["input_series"]:
            if "job=\"other\"" not in given["series"]:
                query(given["series"], series, "alerts_test.yaml")
    for rule in rules:
        name = rule["alert"]
        found = query(rule["expr"], series, name)
        ensure(tried.get(name) == {True, False}, f"{name}: not tried both ways in alerts_test.yaml")
        ensure(rule["labels"].get("severity") in ("critical", "warning"), f"{name}: severity")
        notes = rule["annotations"]
        ensure(set(notes) == {"summary", "description", "runbook_url"}, f"{name}: annotations")
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(notes.values())))
        ensure(used <= found, f"{name}: its annotations name labels {used - found}, which it has not")
        ensure(notes["runbook_url"].endswith(f"/docs/runbook.md#{name.lower()}"), f"{name}: runbook_url")
    return set(names)


def runbook(names, series):
    text = RUNBOOK.read_text()
    entries = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    ensure(set(entries) == names, f"alerts and entries of the runbook differ: {set(entries) ^ names}")
    for name, entry in entries.items():
        for part in ("Means", "Look at", "Do"):
            ensure(f"- **{part}**: " in entry, f"runbook: {name} lacks {part}")
    families = {re.sub("_(count|sum|bucket)$", "", name) for name in series} | set(series)
    unknown = set(re.findall(r"\b(?:cosmos_bridge|process)_\w+", text)) - families
    ensure(not unknown, f"runbook: no metric {unknown}")
    unknown = set(re.findall(r"CosmosBridge\w+", text)) - names
    ensure(not unknown, f"runbook: no alert {unknown}")


def dashboard(series):
    text = DASHBOARD.read_text()
    board = json.loads(text)
    lost = missing(board, json.loads(json.dumps(Dashboard.from_json(board), default=lambda o: o.to_json())))
    ensure(not lost, f"dashboard: Grafana's schema does not know {lost}")
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__all"}
    used = set(re.findall(r"\$\{?(\w+)", text))
    ensure(used <= known, f"dashboard: no variable {used - known}")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            inner, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            ensure(label in query(inner, series, variable["name"]), f"variable {variable['name']}: {label}")
    ids = [panel["id"] for panel in board["panels"]]
    ensure(len(set(ids)) == len(ids), "dashboard: panels share an id")
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        title = panel["title"]
        ensure(panel["targets"] and panel["fieldConfig"]["defaults"].get("unit"), f"{title}: no query or unit")
        for target in panel["targets"]:
            found = query(target["expr"], series, title)
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            ensure(shown <= found, f"{title}: its legend names {shown - found}, which it has not")
    return len(ids)


def missing(here, there, path=""):
    """What one JSON value has and another has not."""
    if isinstance(here, dict) and isinstance(there, dict):
        return [m for k, v in here.items() for m in (missing(v, there[k], f"{path}.{k}") if k in there else [f"{path}.{k}"])]
    if isinstance(here, list) and isinstance(there, list):
        return [m for i, (a, b) in enumerate(zip(here, there)) for m in missing(a, b, f"{path}[{i}]")]
    return []


def check():
    series = documented()
    names = alerts(series)
    runbook(names, series)
    print(f"{len(names)} alerts, {dashboard(series)} panels")
