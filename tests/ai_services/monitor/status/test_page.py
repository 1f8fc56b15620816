"""The page holds what the report tells, and nothing that anybody wrote becomes a part of it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

from ai_services.monitor.jobs.service import Scheduled
from ai_services.monitor.status.page import html_page
from ai_services.monitor.status.report import Report, ServiceReport, StoreReport
from shared.data_access.outbox.relay import Depth
from tests.ai_services.monitor.status.reports import BUDGET, KIND, ONE, SCHEDULE, well

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;{style}</style>"""


class Outline(HTMLParser):
    """Every tag with its attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(report: Report) -> Outline:
    seen = Outline()
    seen.feed(html_page(report)[0])
    seen.close()
    return seen


def named(name: str) -> Report:
    """A report in which all that others have written is `name`."""
    instance = replace(ONE, address=name, version=name, ready=False, wrong=(name, name))
    return well(
        services=[ServiceReport(name, (instance,)), ServiceReport(name, ())],
        stores=[StoreReport("postgres", 1.0, name)],
        projections={name: Depth(waiting=1, dead=1)},
        next_runs=[Scheduled(replace(SCHEDULE, name=name), replace(KIND, summary=name))],
        budgets=[replace(BUDGET, subject=name, period=name)],
        jobs=None,
        unknown={"jobs": name},
    )


def test_names_and_messages_of_others_are_text_and_nothing_else() -> None:
    hostile, harmless = outline(named(HOSTILE)), outline(named("harmless"))
    assert hostile.tags == harmless.tags
    assert hostile.text == harmless.text.replace("harmless", HOSTILE)
    assert harmless.text.count("harmless") > 15


def test_all_is_told() -> None:
    text = outline(well()).text
    for told in (
        "Looma AI is up", "2026-11-30 14:03:05 UTC", "10.0.0.7:8211", "2.1 ms", "search (in postgres)",
        "nightly", "Mon 30 Nov 22:03", "Asia/Shanghai", "Portraits of yesterday.", "100.00", "25%",
    ):  # fmt: skip
        assert told in text, told


def test_what_is_unknown_is_told_with_its_reason() -> None:
    unknown = {name: f"{name} is away" for name in ("services", "jobs", "next_runs", "budgets")}
    report = well(services=None, jobs=None, next_runs=None, budgets=None, unknown=unknown)
    text = outline(report).text
    assert text.count("Unknown: ") == 4
    assert "budgets is away" in text


def test_nothing_is_loaded_or_run_and_only_its_own_style_is_taken() -> None:
    page, policy = html_page(well())
    tags = outline(well()).tags
    assert {name for name, _ in tags}.isdisjoint({"script", "img", "iframe", "object", "form", "a"})
    assert not [a for _, attrs in tags for a in attrs if a[0] == "style" or a[0].startswith("on")]
    assert ("meta", (("http-equiv", "refresh"), ("content", "10"))) in tags
    assert [attrs for name, attrs in tags if name == "link"] == [
        (("rel", "icon"), ("href", "data:,"))
    ]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")


def test_a_budget_that_is_overrun_fills_its_bar_and_no_more() -> None:
    over = replace(BUDGET, spent=BUDGET.amount * 3)
    tags = dict(outline(well(budgets=[over])).tags)
    assert dict(tags["progress"])["value"] == "1.0000"
