"""Prometheus' files as values: alerts, recorded series, scenarios, and the metrics of an expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "monitoring" / "prometheus"
RULES: Final = tuple(sorted((FOLDER / "rules").glob("*.yml")))
SCENARIOS: Final = tuple(sorted((FOLDER / "tests").glob("*.yml")))

# What Prometheus' node exporter tells of a machine, as far as rules and dashboards use it.
NODE_EXPORTER: Final = frozenset(
    {
        "node_cpu_seconds_total",
        "node_filesystem_avail_bytes",
        "node_filesystem_size_bytes",
        "node_memory_MemAvailable_bytes",
        "node_memory_MemTotal_bytes",
        "node_textfile_scrape_error",
    }
)
# What docker/backup.sh tells by it, and what the blackbox exporter tells of a certificate.
BACKUPS: Final = frozenset(
    {"looma_backup_last_success_timestamp_seconds", "looma_backup_size_bytes"}
)
CERTIFICATES: Final = frozenset({"probe_ssl_earliest_cert_expiry", "probe_success"})
PROMETHEUS_OWN: Final = frozenset({"up", "ALERTS"})
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
_AROUND_LABELS: Final = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
_NAME: Final = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()")


def document(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text("utf-8")))


def rules(path: Path) -> Iterator[dict[str, Any]]:
    for group in document(path)["groups"]:
        yield from group["rules"]


def alerts(path: Path) -> dict[str, dict[str, Any]]:
    """The alerts of one file by name."""
    return {rule["alert"]: rule for rule in rules(path) if "alert" in rule}


ALERTS: Final = {name: rule for path in RULES for name, rule in alerts(path).items()}
RECORDED: Final = frozenset(
    rule["record"] for path in RULES for rule in rules(path) if "record" in rule
)


def runbook_queries() -> Iterator[tuple[str, str]]:
    """Page and PromQL of every query that a runbook has somebody ask."""
    for path in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        for query in re.findall(
            r"^promtool query instant \S+ '(.*)'$", path.read_text(), re.MULTILINE
        ):
            yield path.stem, query


def metrics_of(expression: str) -> set[str]:
    """The names of all metrics and recorded series that a PromQL expression reads."""
    text = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`", '""', expression)
    text = re.sub(r"#.*", "", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(_AROUND_LABELS, " ", text)
    return {name for name in _NAME.findall(text) if name.lower() not in _WORDS}
