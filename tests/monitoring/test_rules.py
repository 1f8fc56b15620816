"""Every alert says what to do, and was tried where it fires and where it must not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main

from gateway.own_api.admin import Admin
from looma_cli.main import app
from shared.services import PROCESSES
from tests.monitoring.prometheus_files import (
    ALERTS,
    FOLDER,
    RECORDED,
    ROOT,
    RULES,
    SCENARIOS,
    alerts,
    document,
    metrics_of,
    rules,
)

RUNBOOKS = ROOT / "docs" / "runbooks"


def scenarios(alert: str) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Each scenario of an alert with what is expected of it."""
    for path in SCENARIOS:
        for scenario in document(path)["tests"]:
            for expected in scenario.get("alert_rule_test", ()):
                if expected["alertname"] == alert:
                    yield scenario, expected["exp_alerts"]


def test_no_two_alerts_share_a_name() -> None:
    assert sum(len(alerts(path)) for path in RULES) == len(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(str(text).strip() for text in alert["annotations"].values())
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tried_where_it_fires_and_where_it_must_not(name: str) -> None:
    found = list(scenarios(name))
    assert [one for one, expected in found if expected], f"no scenario in which {name} fires"
    silent = [one for one, expected in found if not expected]
    assert silent, f"no scenario in which {name} is silent"
    reads = metrics_of(ALERTS[name]["expr"]) - RECORDED
    firing = {one["name"] for one, expected in found if expected}  # and were silent before
    for one in (one for one in silent if one["name"] not in firing):  # not about nothing
        fed = " ".join(series["series"] for series in one["input_series"])
        assert all(metric in fed for metric in reads), f"{one['name']}: feed {sorted(reads)}"


def test_scenarios_are_of_alerts_that_there_are() -> None:
    tried = {
        expected["alertname"]
        for path in SCENARIOS
        for one in document(path)["tests"]
        for expected in one.get("alert_rule_test", ())
    }
    assert tried == set(ALERTS)
    assert [path.name for path in SCENARIOS] == [path.name for path in RULES]


def test_recorded_series_are_written_level_metric_operation() -> None:
    assert all(re.fullmatch(r"[a-z]+:[a-z_]+:[a-z0-9_]+", name) for name in RECORDED)
    read = {name for path in RULES for rule in rules(path) for name in metrics_of(rule["expr"])}
    assert {name for name in read if ":" in name} <= RECORDED


# -- runbooks ------------------------------------------------------------------------------------


def commands(name: str) -> list[str]:
    page = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    (block,) = re.findall(r"## First commands\n\n```sh\n(.*?)```", page, re.DOTALL)
    return block.splitlines()


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_says_what_it_means_what_to_run_first_and_whom_to_wake(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n\n")
    meaning = page.split("\n\n")[1]
    assert len(meaning) > 60
    assert len(commands(name)) == 3
    assert "\n## Whom to wake\n" in page


def test_there_is_no_runbook_without_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)
    index = (RUNBOOKS / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbooks_commands_are_real(name: str) -> None:
    page = " ".join(commands(name))
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"\blooma ([a-z-]+)", page)) <= known
    own = {route.path for route in Admin.routes(object.__new__(Admin))}
    pages = {"/health", "/ready", "/metrics", "/internal/targets", "/.well-known/jwks.json"}
    assert set(re.findall(r":8206(/\S*)", page)) <= own | pages
    assert set(re.findall(r"logs/(\w+)\.log", page)) <= {
        *(one.name for one in PROCESSES),
        "looma",  # the supervisor's, of `looma up --detach`
    }


def looma_commands() -> Iterator[tuple[str, list[str], list[str]]]:
    """Page, words and options of each `looma …` that a page has somebody run."""
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = path.read_text("utf-8")
        for line in re.findall(r"`looma ([^`\n]+)`|^looma (.+)$", text, re.MULTILINE):
            words = "".join(line).split()
            options = [word for word in words if word.startswith("--")]
            yield path.stem, words[: words.index(options[0])] if options else words, options


def test_every_looma_command_of_a_runbook_is_in_the_command_tree_with_its_options() -> None:
    found = list(looma_commands())
    assert len(found) > 10
    for page, words, options in found:
        command = typer.main.get_command(app)
        for word in words:
            commands_of = getattr(command, "commands", None)
            if commands_of is None:
                break  # an argument
            assert word in commands_of, f"{page}: looma {' '.join(words)}"
            command = commands_of[word]
        known = {option for one in command.params for option in one.opts}
        assert set(options) <= known, f"{page}: looma {' '.join(words)} {options}"


# -- configuration -------------------------------------------------------------------------------


def test_scrapes_are_labelled_as_rules_read_them() -> None:
    jobs = {job["job_name"] for job in document(FOLDER / "prometheus.yml")["scrape_configs"]}
    read = {
        name
        for path in RULES
        for rule in rules(path)
        for selector in re.findall(r"job=~?\"([^\"]+)\"", rule["expr"])
        for name in selector.split("|")
    }
    assert read == jobs


@pytest.mark.parametrize("path", RULES, ids=[path.stem for path in RULES])
def test_every_series_is_read_of_one_job(path) -> None:  # so that nothing is counted twice
    for rule in rules(path):
        for metric in metrics_of(rule["expr"]) - RECORDED:
            bare = rf"\b{metric}\b(?!\{{[^}}]*job=)"
            assert not re.search(bare, rule["expr"]), f"{rule}: {metric} of which job?"


def test_every_address_is_a_service_of_the_compose_file() -> None:
    config = document(FOLDER / "prometheus.yml")
    scraped = config["scrape_configs"] + config["alerting"]["alertmanagers"]
    groups = [group for job in scraped for group in job.get("static_configs", ())]
    hosts = {target.partition(":")[0] for group in groups for target in group["targets"]}
    found = [sd["url"] for job in scraped for sd in job.get("http_sd_configs", ())]
    for sources in (ROOT / "monitoring/grafana/provisioning/datasources").iterdir():
        found += [source["url"] for source in document(sources)["datasources"]]
    hosts |= {str(urlsplit(url).hostname) for url in found}
    assert hosts <= set(document(ROOT / "docker-compose.yml")["services"])
