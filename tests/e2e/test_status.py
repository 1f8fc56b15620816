"""The status of real services, through the gateway before them."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, expect

from shared.services import SERVICE_NAMES
from tests.browser import watched
from tests.e2e.real_services import RealServices
from tests.gateway.wire import until

STATUS = "/api/v1/status"


async def test_every_part_of_the_platform_is_told_and_is_up(whole: RealServices) -> None:
    async with whole.client() as client:

        async def told() -> dict[str, Any]:
            answer = await client.get(STATUS)
            assert answer.status_code == 200, answer.text
            assert answer.headers["cache-control"] == "no-store"
            found: dict[str, Any] = answer.json()["data"]
            return found

        async def all_up() -> bool:
            found = await told()
            names = {one["name"] for one in found["services"] if one["status"] == "up"}
            return names.issuperset(SERVICE_NAMES) and not found["unknown"]

        await until(all_up, 30)
        found = await told()
    assert all(store["up"] for store in found["stores"])
    assert found["budgets"] is not None


async def test_a_browser_is_shown_the_page_under_its_own_policy(
    whole: RealServices, browser: Browser
) -> None:
    async with watched(browser, whole.url, STATUS, whole.headers) as seen:
        await expect(seen.page.get_by_role("heading", level=1)).to_contain_text("Looma AI is")
        await expect(seen.page.locator("section").first).to_have_css("border-top-style", "solid")
        await expect(seen.page.get_by_role("row", name="llm ●")).to_be_visible()
        seen.assert_clean()
