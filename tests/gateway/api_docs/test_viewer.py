"""/docs and its files; tests/e2e/test_docs_page.py signs in and tries calls."""

from __future__ import annotations

import base64
import hashlib
import re

from playwright.async_api import Browser, expect

from tests.browser import watched
from tests.gateway.conftest import Platform
from tests.gateway.wire import until

EVIL = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></textarea></style>{{7*7}} "
    "<a href='javascript:alert(3)'>here</a>\n\n![seen](https://elsewhere.test/pixel.png)"
)
TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


async def files_of(platform: Platform) -> list[str]:
    """What /docs loads."""
    return re.findall(r'(?:src|href)="(/docs/[^"]+)"', (await platform.client.get("/docs")).text)


async def test_the_page_runs_its_own_files_and_one_script_known_by_its_hash(
    platform: Platform,
) -> None:
    got = await platform.client.get("/docs")
    assert (got.status_code, got.headers["cache-control"]) == (200, "no-cache")
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    (start,) = re.findall(r"<script>(.*?)</script>", got.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(start.encode()).digest()).decode()
    assert got.headers["content-security-policy"] == (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


async def test_its_files_are_kept_for_good_under_names_that_follow_what_they_hold(
    platform: Platform,
) -> None:
    paths = await files_of(platform)
    assert sorted(path.rpartition(".")[2] for path in paths) == ["css", "js"]
    for path in paths:
        _, digest, kind = path.split(".")
        got = await platform.client.get(path, headers={"Accept-Encoding": "identity"})
        assert got.status_code == 200
        assert hashlib.sha256(got.content).hexdigest().startswith(digest)
        assert got.headers["content-type"] == TYPES[kind]
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
        changed = path.replace(digest, digest[::-1])
        assert (await platform.client.get(changed)).status_code == 404


async def test_head_says_what_get_would(platform: Platform) -> None:
    for path in await files_of(platform):
        for coding in ("gzip", "identity"):
            asked = {"Accept-Encoding": coding}
            got = await platform.client.get(path, headers=asked)
            head = await platform.client.head(path, headers=asked)
            assert (head.status_code, head.content) == (200, b"")
            assert {**head.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}


async def test_hostile_text_of_a_service_runs_nothing(platform: Platform, browser: Browser) -> None:
    operation = {
        "summary": EVIL, "description": EVIL, "responses": {"200": {"description": EVIL}},
        "parameters": [{"name": EVIL, "in": "query", "description": EVIL, "schema": {"enum": [EVIL]}}],
    }  # fmt: skip
    platform.auth.openapi = {"paths": {"/api/v1/auth/me": {"get": operation}}}

    async def described() -> bool:
        return "/api/v1/auth/me" in (await platform.client.get("/openapi.json")).json()["paths"]

    await until(described, 12)
    async with watched(browser, platform.url, "/docs") as seen:
        call = seen.page.locator(".opblock").filter(has_text="/api/v1/auth/me")
        await call.locator(".opblock-summary-control").click()
        await expect(call.locator(".responses-table")).to_contain_text("{{7*7}}")
        assert await call.locator("script, [onerror], [href^=javascript]").count() == 0
        stopped = [said for said in seen.complaints if "Content Security Policy" in said]
        assert seen.complaints == stopped  # no dialog, no error
        assert any("https://elsewhere.test/pixel.png" in said for said in stopped)
