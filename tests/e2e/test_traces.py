"""One trace from the gateway to the stores, of real processes, as a collector receives it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

import pytest

from tests.e2e.conftest import Watched
from tests.otlp import Span

pytestmark = pytest.mark.slow

RECORDS = [
    {
        "callid": f"traced-{number}",
        "user_id": "team-7",
        "customer_id": "c-42",
        "started_at": "2025-01-15T10:00:00+08:00",
        "duration_ms": 42_000,
        "call_status": "connected",
        "level_name": "B",
        "hangup_by": 2,
        "turns": [{"role": "customer", "at_ms": 900, "text": "太慢了，我要投诉"}],
    }
    for number in range(3)
]


def tree(spans: Iterable[Span]) -> set[tuple[str, ...]]:
    """Each span as the way to it: services and systems, from the root."""
    by_id = {span.id: span for span in spans}

    def way(span: Span) -> tuple[str, ...]:
        own = span.attributes.get("db.system.name", span.service)
        return (*way(by_id[span.parent]), own) if span.parent in by_id else (own,)

    return {way(span) for span in by_id.values()}


def named(spans: Iterable[Span], name: str) -> Span:
    return next(span for span in spans if span.name == name)


def test_a_request_is_one_trace_down_to_sql_and_redis(watched: Watched) -> None:
    with watched.client() as client:
        answer = client.post(
            "/api/v1/calls", json={"records": RECORDS}, headers={"Idempotency-Key": str(uuid4())}
        )
    assert answer.status_code == 200, answer.text
    spans = watched.collector.await_(
        lambda all_: any(
            s.service == "looma-gateway" and s.name == "POST /api/v1/calls" for s in all_
        )
    )
    root = named((s for s in spans if s.service == "looma-gateway"), "POST /api/v1/calls")
    watched.collector.await_(
        lambda all_: any(s.trace == root.trace and s.service == "looma-enrichment" for s in all_)
    )
    own = watched.collector.trace(root.trace)
    assert root.parent == ""
    assert root.kind == "SERVER"
    assert tree(own) == {
        ("looma-gateway",),
        ("looma-gateway", "redis"),
        ("looma-gateway", "looma-enrichment"),
        ("looma-gateway", "looma-enrichment", "postgresql"),
    }
    service = next(s for s in own if s.service == "looma-enrichment" and s.kind == "SERVER")
    assert service.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/v1/calls",
        "http.response.status_code": 200,
    }
    merge = named(own, "INSERT call_record_enriched")
    assert merge.kind == "CLIENT"
    assert merge.parent == service.id
    assert merge.attributes["db.operation.name"] == "INSERT"
    for span in own:
        parent = next((one for one in own if one.id == span.parent), None)
        assert span.end >= span.start
        # One machine, one wall clock: within a process exactly, between two nearly.
        assert parent is None or span.start >= parent.start - 50_000_000
        assert (span.failed, span.status_message, span.events, span.links) == (False, "", 0, 0)


def test_projections_are_traces_of_their_own_down_to_graph_search_and_vectors(
    watched: Watched,
) -> None:
    with watched.client() as client:
        client.post("/api/v1/calls", json={"records": RECORDS})
        assert (
            client.post("/api/v1/admin/compute", json={}, headers={"Prefer": "wait=15"}).status_code
            == 200
        )
    wanted = {"outbox search", "outbox graph", "outbox vectors", "analysis"}
    spans = watched.collector.await_(lambda all_: wanted <= {s.name for s in all_}, 60)
    for name, system in (
        ("outbox search", "postgresql"),
        ("outbox graph", "neo4j"),
        ("outbox vectors", "postgresql"),
        ("analysis", "postgresql"),
    ):
        root = named(spans, name)
        assert (root.parent, root.kind) == ("", "INTERNAL")
        below = tree(watched.collector.trace(root.trace))
        assert (root.service, system) in below, f"{name}: {below}"
    assert named(spans, "upsert_edges CALLED").attributes["db.system.name"] == "neo4j"


def test_items_of_a_batch_are_below_it_and_a_search_is_traced(watched: Watched) -> None:
    item = {"method": "GET", "path": "/api/v1/calls/search?q=%E6%8A%95%E8%AF%89"}
    with watched.client() as client:
        answer = client.post("/api/v1/batch", json={"requests": [item] * 3})
    assert [one["status"] for one in answer.json()["data"]["responses"]] == [200] * 3
    spans = watched.collector.await_(lambda all_: any(s.name == "POST /api/v1/batch" for s in all_))
    batch = named(spans, "POST /api/v1/batch")
    watched.collector.await_(
        lambda all_: (
            sum(s.trace == batch.trace and s.service != "looma-gateway" for s in all_) >= 12
        )
    )
    own = watched.collector.trace(batch.trace)
    of_items = [s for s in own if s.parent == batch.id and s.kind == "SERVER"]
    assert [s.name for s in of_items] == ["GET /api/v1/calls/search"] * 3
    assert ("looma-gateway", "looma-gateway", "looma-enrichment", "postgresql") in tree(own)
    assert any(s.name == "SELECT search_document" for s in own)


def test_a_client_that_wants_no_trace_leaves_none(watched: Watched) -> None:
    trace = uuid4().hex
    with watched.client() as client:
        for flags in ("00", "01"):
            headers = {"traceparent": f"00-{trace}-{'7' * 16}-{flags}"}
            assert client.get("/api/v1/users", headers=headers).status_code == 200
    watched.collector.await_(lambda _: any(s.trace == trace for s in watched.collector.spans))
    watched.collector.await_(
        lambda _: any(s.service == "looma-auth" for s in watched.collector.trace(trace))
    )
    servers = [s for s in watched.collector.trace(trace) if s.kind == "SERVER"]
    assert [(s.service, s.parent == "7" * 16) for s in servers] == [
        ("looma-gateway", True),
        ("looma-auth", False),
    ]


def test_looking_for_news_is_not_traced(watched: Watched) -> None:
    assert {s.name for s in watched.collector.spans if "/internal/" in s.name} == set()
