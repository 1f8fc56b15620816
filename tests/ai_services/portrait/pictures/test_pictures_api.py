"""Charts and reports over the API."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pypdfium2 as pdfium
import pytest
from PIL import Image

from tests.ai_services.portrait.test_portrait_api import (  # noqa: F401 - fixtures
    CALLS,
    Api,
    client,
    empty,
)

EVIL = "<script>alert(1)</script>&\"'张三"


@pytest.fixture
async def api(empty: Api) -> Api:  # noqa: F811
    await empty.organisation.write(*[replace(call, customer_id=EVIL) for call in CALLS])
    assert (await empty.compute({})).status_code == 200
    return empty


@pytest.mark.parametrize("path", ["portrait/users/u1", "portrait/summary"])
@pytest.mark.parametrize("metric", ["connect_rate", "total_calls", "hours"])
async def test_charts_are_images(api: Api, path: str, metric: str) -> None:
    answer = await api.get(f"{path}/chart.svg", metric=metric, lang="zh")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    ET.fromstring(answer.content)
    answer = await api.get(f"{path}/chart.png", metric=metric)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert Image.open(BytesIO(answer.content)).size == (1440, 640)


async def test_a_chart_that_a_client_has_is_not_sent_again(api: Api) -> None:
    first = await api.get("portrait/users/u1/chart.svg", metric="total_calls")
    again = await api.client.get(
        first.request.url.raw_path.decode(),
        headers={
            "X-Internal-Token": first.request.headers["x-internal-token"],
            "If-None-Match": first.headers["etag"],
        },
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_a_report_is_one_page_that_stands_by_itself(api: Api, lang: str) -> None:
    from urllib.parse import quote

    path = "portrait/customers/" + quote(EVIL, safe="") + "/report"
    answer = await api.get(path, lang=lang)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script" not in _tags(answer.text)
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", answer.text)
    assert _tags(answer.text).count("svg") == 3
    assert _tags(answer.text).count("table") >= 4
    assert ("接通率" if lang == "zh" else "Connect rate") in answer.text

    answer = await api.get(path, lang=lang, format="pdf")
    assert answer.headers["content-type"] == "application/pdf"
    document = pdfium.PdfDocument(answer.content)
    assert len(document) == 1
    text = document[0].get_textpage().get_text_bounded()
    assert ("接通率" if lang == "zh" else "Connect rate") in text
    assert "2024-12-16" in text
    assert (await api.get(path, lang=lang, format="pdf")).content == answer.content


def _tags(text: str) -> list[str]:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            found.append(tag)

    Tags().feed(text)
    return found


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("portrait/users/u1/chart.svg", {"metric": "joy"}, 422),
        ("portrait/users/u1/chart.png", {"metric": "total_calls", "lang": "zh"}, 422),
        ("portrait/users/u1/chart.svg", {"metric": "total_calls", "limit": 10**9}, 422),
        ("portrait/users/u1/chart.svg", {}, 422),
        ("portrait/planets/u1/report", {}, 422),
        ("portrait/users/u1/report", {"format": "docx"}, 422),
        ("portrait/users/u1/report", {"lang": "fr"}, 422),
        ("portrait/users/nobody/report", {}, 404),
        ("portrait/users/nobody/chart.svg", {"metric": "hours"}, 404),
        ("portrait/customers/nobody/chart.png", {"metric": "total_calls"}, 404),
    ],
)
async def test_bad_requests_are_answered_as_such(
    api: Api, path: str, params: Any, status: int
) -> None:
    answer = await api.get(path, **params)
    assert answer.status_code == status
    assert answer.json()["error"] in ("invalid_input", "not_found")
