"""The status over HTTP: what it tells, to whom, and in which form."""

from __future__ import annotations

from uuid import uuid4

import httpx
from playwright.async_api import Browser, expect

from shared.security import InternalTokens, Principal, Role
from shared.services import PROCESSES, SERVICES
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.monitor.conftest import SECRET
from tests.ai_services.monitor.status.conftest import STATUS, Site, service, stores_of
from tests.browser import watched
from tests.shared.jobs.workplace import job_type, steps, until

STEPS = job_type("steps", steps, cron="30 2 * * *")


async def test_a_platform_that_misses_nothing_is_up(site: Site) -> None:
    org = await site.place.organisation()
    await site.serve("gateway", "auth", "enrichment", "portrait")
    await site.llm()
    async with site.monitor() as monitor:

        async def up() -> bool:
            return (await monitor.found(org))["status"] == "up"

        await until(up)
        found = await monitor.found(org)
    assert (found["reasons"], found["unknown"]) == ([], {})
    assert [one["name"] for one in found["services"]] == [one.name for one in PROCESSES]
    (instance,) = service(found, "auth")["instances"]
    assert (instance["ready"], instance["wrong"], instance["version"]) == (True, [], "7")
    assert instance["address"].startswith("127.0.0.1:")
    assert {name: one["within"] for name, one in stores_of(found).items()} == {
        "postgres": None, "redis": None, "graph": None, "vectors": "postgres", "search": "postgres",
    }  # fmt: skip
    assert all(one["up"] and one["latency_ms"] > 0 for one in found["stores"])
    assert [one["name"] for one in found["projections"]] == [
        one.name for service in SERVICES for one in service.projections
    ]
    assert found["jobs"]["oldest_queued_seconds"] is None


async def test_an_organisation_is_told_of_its_own_events_jobs_and_budgets_only(site: Site) -> None:
    mine, other = await site.place.organisation(), await site.place.organisation()
    llm = await site.llm()
    async with site.place.working(STEPS), site.place.db.tenant(mine) as tx:
        await tx.emit(mine, "calls", "call-1", {"callid": "call-1"})
    async with site.place.db.system() as tx:
        await tx.execute(
            "INSERT INTO outbox_dead_letter (id, org_id, projection, topic, key, payload, attempts,"
            " error, created_at) VALUES (-1, $1, 'graph', 'calls', 'k', '{}', 5, 'poison', now())",
            mine,
        )
    ids = await site.place.put(STEPS, mine, 3, steps=1)
    async with site.place.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'dead', finished_at = now() WHERE job_id = $1", ids[0]
        )
    budget = {"subject_kind": "organisation", "period": "month", "amount": "50.00"}
    token = InternalTokens(SECRET.encode()).mint(
        Principal(mine, f"user:{uuid4()}", "admin", "user"), "llm"
    )
    async with httpx.AsyncClient(base_url=llm, headers={INTERNAL_TOKEN_HEADER: token}) as http:
        assert (await http.put("/api/v1/budgets", json=budget)).status_code == 200
    async with site.monitor() as monitor:

        async def announced() -> bool:
            return (await monitor.found(mine))["budgets"] is not None

        await until(announced)
        own, theirs = await monitor.found(mine), await monitor.found(other)
    depths = {one["name"]: (one["waiting"], one["dead"]) for one in own["projections"]}
    assert [depths[name] for name in ("search", "graph", "vectors")] == [(1, 0), (1, 1), (0, 0)]
    assert (own["jobs"]["queued"], own["jobs"]["dead"]) == (2, 1)
    assert own["jobs"]["oldest_queued_seconds"] > 0
    (shown,) = own["budgets"]
    assert (shown["subject"], shown["amount"], shown["used"]) == ("organisation", "50.00000000", 0)
    assert "graph has dead letters: 1 of its events were given up" in own["reasons"]
    assert "jobs that died within 24 hours and weren't retried: 1" in own["reasons"]
    assert {one["waiting"] + one["dead"] for one in theirs["projections"]} == {0}
    assert (theirs["jobs"]["queued"], theirs["jobs"]["dead"], theirs["budgets"]) == (0, 0, [])
    assert not [reason for reason in theirs["reasons"] if "given up" in reason or "died" in reason]


async def test_the_next_runs_are_those_of_schedules_that_are_not_paused(site: Site) -> None:
    org = await site.place.organisation()
    kinds = [job_type(f"at_{hour}", steps, cron=f"0 {hour} * * *") for hour in range(12)]
    async with site.monitor() as monitor, site.place.working(*kinds), monitor.client(org) as http:

        async def all_there() -> bool:
            answer = await http.get("/api/v1/schedules")
            return len(answer.json()["data"]["schedules"]) == len(kinds)

        await until(all_there)
        first = (await monitor.found(org))["next_runs"][0]["name"]
        await http.put(f"/api/v1/schedules/{first}", json={"paused": True})
        runs = (await monitor.found(org))["next_runs"]
    assert len(runs) == 10
    assert first not in [one["name"] for one in runs]
    assert [one["next_at"] for one in runs] == sorted(one["next_at"] for one in runs)


async def test_only_admins_are_told(site: Site) -> None:
    org = await site.place.organisation()
    async with site.monitor() as monitor:
        roles: tuple[Role, ...] = ("agent", "analyst", "service")
        for role in roles:
            async with monitor.client(org, role) as http:
                assert (await http.get(STATUS)).status_code == 403
        async with httpx.AsyncClient(base_url=monitor.url) as stranger:
            refused = await stranger.get(STATUS, headers={"Accept": "text/html"})
            assert refused.status_code == 401


async def test_it_is_sent_as_asked_for_and_never_stored(site: Site) -> None:
    org = await site.place.organisation()
    async with site.monitor() as monitor, monitor.client(org) as http:
        for accept, kind in (
            ("*/*", "application/json"),
            ("image/png", "application/json"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ):
            answer = await http.get(STATUS, headers={"Accept": accept, "If-None-Match": "*"})
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["vary"] == "accept"
            assert "etag" not in answer.headers
            assert ("content-security-policy" in answer.headers) == kind.startswith("text/html")
        assert (await http.head(STATUS)).status_code == 200


async def test_a_browser_shows_the_page_in_its_own_style_and_complains_of_nothing(
    site: Site, browser: Browser
) -> None:
    org = await site.place.organisation()
    await site.serve("auth")
    async with site.monitor() as monitor, monitor.client(org) as http:
        sent = {INTERNAL_TOKEN_HEADER: http.headers[INTERNAL_TOKEN_HEADER]}
        async with watched(browser, monitor.url, STATUS, sent) as seen:
            await expect(seen.page.get_by_role("heading", level=1)).to_contain_text("Looma AI is")
            section = seen.page.locator("section").first
            await expect(section).to_have_css("border-top-style", "solid")
            await expect(seen.page.get_by_role("row").filter(has_text="auth")).to_be_visible()
            seen.assert_clean()
