"""Holds deploy/azure/main.json to main.bicep and its modules. No Bicep compiler can be had from a package
registry that the test command uses: this compares what the two say, and does not evaluate it.
"""

import json
import re
import sys
from pathlib import Path

AZURE = Path(__file__).resolve().parents[3] / "deploy" / "azure"
# Properties that Bicep and the ARM template express in different ways.
ELSEWHERE = {"parent", "scope", "dependsOn"}
# The actions that a role may allow. None reads documents of the target, queries, or is a wildcard.
ACCOUNT = "Microsoft.DocumentDB/databaseAccounts/"
ALLOWED = {
    "source-role": {"readMetadata", "sqlDatabases/containers/readChangeFeed", "sqlDatabases/containers/items/read"},
    "target-role": {"readMetadata"}
    | {f"sqlDatabases/containers/items/{verb}" for verb in ("create", "upsert", "replace", "delete")},
}


def ensure(holds, what):
    if not holds:
        sys.exit(f"deploy/azure: {what}")


def parse(file):
    from pycep import BicepParser

    return BicepParser().parse(text=file.read_text())


def check():
    bicep, template = parse(AZURE / "main.bicep"), json.loads((AZURE / "main.json").read_text())
    structure(template, "main.json")
    parameters(bicep, template, "main.bicep")
    nested = {resource["name"]: resource for resource in template["resources"]}
    modules = bicep["modules"].values()
    ensure(set(nested) == {module["config"]["name"] for module in modules}, "modules differ")
    for module in modules:
        config, path = module["config"], module["detail"]["path"]
        made = nested[config["name"]]
        ensure(("scope" in config) == ("resourceGroup" in made), f"{path}: scopes differ")
        given = {key: value["value"] for key, value in made["properties"]["parameters"].items()}
        same(config["params"], given, path)
        inner, file = made["properties"]["template"], parse(AZURE / path)
        structure(inner, path)
        ensure(set(given) <= set(inner["parameters"]), f"{path}: unknown parameters")
        needed = {key for key, value in inner["parameters"].items() if "defaultValue" not in value}
        ensure(needed <= set(given), f"{path}: missing parameters {needed - set(given)}")
        parameters(file, inner, path)
        resources(file, inner, path)
        roles(inner, config["name"])
        ensure(set(file.get("outputs", {})) == set(inner.get("outputs", {})), f"{path}: outputs differ")
    print(f"{len(nested)} modules, main.json says what they say")


def structure(template, path):
    """A template of a resource group, of which every parameter is declared and used."""
    ensure(template["$schema"].endswith("/2019-04-01/deploymentTemplate.json#"), f"{path}: schema")
    ensure(re.fullmatch(r"\d+\.\d+\.\d+\.\d+", template["contentVersion"]), f"{path}: contentVersion")
    body = {key: value for key, value in template.items() if key not in ("parameters", "$schema")}
    # What a nested template refers to is its own.
    text = json.dumps(body, default=str)
    for resource in body["resources"]:
        if "template" in resource.get("properties", {}) and resource["type"].endswith("/deployments"):
            text = text.replace(json.dumps(resource["properties"]["template"]), "")
        ensure({"type", "apiVersion", "name"} <= set(resource), f"{path}: {resource.get('name')}")
    for kind in ("parameters", "variables"):
        used = set(re.findall(rf"\b{kind}\('(\w+)'\)", text))
        declared = set(template.get(kind, {}))
        ensure(used == declared, f"{path}: {kind} used {sorted(used)}, declared {sorted(declared)}")
    for expression in re.findall(r'"(\[.*?\])"', text):
        ensure(expression.count("(") == expression.count(")"), f"{path}: {expression}")


def parameters(bicep, template, path):
    ensure(set(bicep["parameters"]) == set(template["parameters"]), f"{path}: parameters differ")
    for name, said in bicep["parameters"].items():
        made = template["parameters"][name]
        decorators = {d["type"]: d.get("argument") for d in said["decorators"]}
        kind = "securestring" if "secure" in decorators else said["type"]
        ensure(made["type"] == kind, f"{path}: {name} is {made['type']}, not {kind}")
        ensure(made.get("maxLength") == decorators.get("max_length"), f"{path}: maxLength of {name}")
        ensure(made.get("minLength") == decorators.get("min_length"), f"{path}: minLength of {name}")
        if said["default"] is not None:
            same(said["default"], made.get("defaultValue"), f"{path}: {name}")


def resources(bicep, template, path):
    said = {r["type"]: r for r in bicep["resources"].values() if not r["existing"]}
    made = {r["type"]: r for r in template["resources"]}
    ensure(len(made) == len(template["resources"]), f"{path}: one type twice")
    ensure(
        sorted((t, r["api_version"]) for t, r in said.items())
        == sorted((t, r["apiVersion"]) for t, r in made.items()),
        f"{path}: types or versions differ",
    )
    for kind, resource in said.items():
        expected = {key: value for key, value in made[kind].items() if key not in ("type", "apiVersion")}
        same(resource["config"], expected, f"{path}: {kind}")


def same(bicep, arm, where):
    """Literals are equal, objects and lists have the same shape, and expressions are expressions."""
    if isinstance(bicep, dict) and set(bicep) <= {"operator", "function"} and bicep:
        negative = isinstance(arm, int) and arm < 0
        ensure(negative or str(arm).startswith("["), f"{where}: {arm} is no expression")
    elif isinstance(bicep, dict):
        ensure(isinstance(arm, dict), f"{where}: no object")
        computed = {key for key in bicep if "$" in key}
        left = {key for key in bicep if key not in ELSEWHERE} - computed
        right = {key for key in arm if key not in ELSEWHERE and not key.startswith("[")}
        ensure(left == right, f"{where}: {sorted(left ^ right)} on one side alone")
        for key in left:
            same(bicep[key], arm[key], f"{where}.{key}")
    elif isinstance(bicep, list):
        ensure(isinstance(arm, list) and len(arm) == len(bicep), f"{where}: lists differ")
        for index, (one, other) in enumerate(zip(bicep, arm)):
            same(one, other, f"{where}[{index}]")
    elif isinstance(bicep, str) and "${" in bicep:
        ensure(str(arm).startswith("["), f"{where}: {arm} is no expression")
    else:
        references = {f"[parameters('{bicep}')]", f"[variables('{bicep}')]"}
        ensure(arm == bicep or arm in references, f"{where}: {bicep!r} is not {arm!r}")


def roles(template, name):
    for resource in template["resources"]:
        if resource["type"].endswith("/sqlRoleDefinitions"):
            allowed = {a for p in resource["properties"]["permissions"] for a in p["dataActions"]}
            expected = {ACCOUNT + action for action in ALLOWED[name]}
            ensure(allowed == expected, f"{name}: {sorted(allowed ^ expected)}")
