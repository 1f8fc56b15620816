"""/docs in a real browser before the real services: sign in, try a call, see its answer."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser import watched
from tests.e2e.real_services import RealServices, operations

ADMIN = {"email": "admin@tested.test", "password": "correct horse battery"}


async def credential(whole: RealServices, scheme: str) -> tuple[str, dict[str, str]]:
    """(what to enter, the headers that the gateway is to get)."""
    if scheme == "apiKey":
        return whole.key, {"x-api-key": whole.key}
    async with whole.client() as client:
        got: Any = (await client.post("/api/v1/auth/login", json=ADMIN)).json()
    token = got["data"]["access_token"]
    return token, {"authorization": f"Bearer {token}"}


async def sign_in(page: Page, scheme: str, secret: str) -> None:
    await page.locator("button.authorize").first.click()
    form = page.locator(".auth-container").filter(has_text=scheme)
    await form.locator("input").fill(secret)
    await form.get_by_role("button", name="Apply credentials").click()
    await form.get_by_role("button", name="Close").click()


async def test_every_route_is_shown(whole: RealServices, browser: Browser) -> None:
    async with whole.client() as client:
        described = operations((await client.get("/openapi.json")).json())
    async with watched(browser, whole.url, "/docs") as seen:
        rows = seen.page.locator(".opblock-summary")
        await expect(rows).to_have_count(len(described))
        shown = [text.replace("\u200b", "").split() for text in await rows.all_inner_texts()]
        assert sorted(words[:2] for words in shown) == sorted([m, p] for m, p, _ in described)
        seen.assert_clean()


@pytest.mark.parametrize("scheme", ["bearer", "apiKey"])
async def test_a_signed_in_reader_tries_a_call(
    whole: RealServices, browser: Browser, scheme: str
) -> None:
    secret, sent = await credential(whole, scheme)
    async with watched(browser, whole.url, "/docs") as seen:
        page = seen.page
        await sign_in(page, scheme, secret)
        call = page.locator(".opblock").filter(has_text="/api/v1/calls/{callid}")
        await call.locator(".opblock-summary-control").click()
        await expect(call).to_contain_text("calls:read")
        await call.get_by_placeholder("callid").fill("call-1")
        async with page.expect_request("**/api/v1/calls/call-1") as tried:
            await call.get_by_role("button", name="Execute").click()
        headers = (await tried.value).headers
        credentials = {"authorization", "x-api-key", "cookie"} & headers.keys()
        assert {name: headers[name] for name in credentials} == sent
        answer = call.locator(".live-responses-table")
        await expect(answer.locator("tbody .response-col_status")).to_have_text("200")
        await expect(answer).to_contain_text('"callid": "call-1"')
        seen.assert_clean()
