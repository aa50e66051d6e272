"""Reads metrics from standard input with the Prometheus project's own parser, and prints each sample
as a line of JSON: family, type, name, labels, value.

Usage: read_metrics.py openmetrics|text
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

PARSERS = {
    "openmetrics": openmetrics.text_string_to_metric_families,
    "text": parser.text_string_to_metric_families,
}

for family in PARSERS[sys.argv[1]](sys.stdin.read()):
    for sample in family.samples:
        print(
            json.dumps(
                {
                    "family": family.name,
                    "type": family.type,
                    "help": family.documentation,
                    "name": sample.name,
                    "labels": sample.labels,
                    "value": str(sample.value),
                }
            )
        )
