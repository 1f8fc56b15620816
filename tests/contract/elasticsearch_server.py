"""As much of Elasticsearch's HTTP protocol as the adapter speaks, in memory.

It proves that the adapter's requests are well formed, its paging and error handling right. That
Elasticsearch understands them the same way is proved by TEST_ELASTICSEARCH_URL only.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from aiohttp import web

HEADERS = {
    "X-Elastic-Product": "Elasticsearch",
    "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8",
}


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, headers=HEADERS)


def refusal(kind: str, status: int) -> web.Response:
    cause = {"type": kind, "reason": "a reason that quotes a secret document"}
    return answer({"error": {**cause, "root_cause": [cause]}, "status": status}, status)


class ElasticsearchServer:
    """`fail_with`, when set, is the (type, status) that every request is refused with."""

    def __init__(self) -> None:
        self.indices: dict[str, dict[str, dict[str, Any]]] = {}
        self.fail_with: tuple[str, int] | None = None
        self.url = ""
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        self._runner = web.AppRunner(app)

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://elastic:secret@127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _dispatch(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Basic ZWxhc3RpYzpzZWNyZXQ=":
            return refusal("security_exception", 401)
        if self.fail_with is not None:
            return refusal(*self.fail_with)
        parts = [part for part in request.path.split("/") if part]
        if not parts:
            return answer({"version": {"number": "8.19.0"}, "tagline": "You Know, for Search"})
        index, action = parts[0], parts[1] if len(parts) > 1 else f"index_{request.method.lower()}"
        handler = getattr(self, f"_{action.lstrip('_')}")
        return await handler(request, index)

    async def _index_head(self, _request: web.Request, index: str) -> web.Response:
        return answer(None, 200 if index in self.indices else 404)

    async def _index_put(self, request: web.Request, index: str) -> web.Response:
        if index in self.indices:
            return refusal("resource_already_exists_exception", 400)
        mappings = (await request.json())["mappings"]
        assert mappings["dynamic"] == "strict"
        self.indices[index] = {}
        return answer({"acknowledged": True})

    async def _refresh(self, _request: web.Request, _index: str) -> web.Response:
        return answer({"_shards": {}})

    async def _bulk(self, request: web.Request, index: str) -> web.Response:
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        items = []
        while lines:
            ((kind, target),) = lines.pop(0).items()
            assert target["routing"] == request.query["routing"]
            documents = self.indices[index]
            if kind == "index":
                source = lines.pop(0)
                assert source.keys() == {"org_id", "id", "at", "tags", "terms", "text", "fields"}
                documents[target["_id"]] = source
                items.append({"index": {"status": 201}})
            else:
                status = 200 if documents.pop(target["_id"], None) else 404
                items.append({"delete": {"status": status}})
        return answer({"errors": False, "items": items})

    def _found(self, index: str, query: dict[str, Any]) -> list[tuple[str, dict[str, Any], float]]:
        found = []
        for key, source in self.indices.get(index, {}).items():
            score = score_of(query, source)
            if score is not None:
                found.append((key, source, score))
        return found

    async def _search(self, request: web.Request, index: str) -> web.Response:
        body = await request.json()
        assert request.query["ignore_unavailable"] == "true"
        included = request.query["_source_includes"].split(",")
        rows = [
            ([score, source["at"], source["id"]], source)
            for _, source, score in self._found(index, body["query"])
        ]
        rows.sort(key=lambda row: sort_key(row[0]))
        if after := body.get("search_after"):
            rows = [row for row in rows if sort_key(row[0]) > sort_key(after)]
        hits = [
            {
                "_score": sort[0],
                "_source": {name: source[name] for name in included},
                "sort": sort,
            }
            for sort, source in rows[: body["size"]]
        ]
        return answer({"hits": {"hits": hits}})

    async def _count(self, request: web.Request, index: str) -> web.Response:
        return answer({"count": len(self._found(index, (await request.json())["query"]))})

    async def _delete_by_query(self, request: web.Request, index: str) -> web.Response:
        found = self._found(index, (await request.json())["query"])
        for key, _, _ in found:
            del self.indices[index][key]
        return answer({"deleted": len(found), "failures": []})


def sort_key(sort: list[Any]) -> tuple[float, int, str]:
    return (-sort[0], -sort[1], sort[2])


def score_of(query: dict[str, Any], source: dict[str, Any]) -> float | None:
    """None for no match; else the frequency of the terms in relation to the length."""
    ((kind, body),) = query.items()
    if kind == "bool":
        if any(score_of(part, source) is None for part in body["filter"]):
            return None
        scores = [score_of(part, source) for part in body["must"]]
        return None if None in scores else sum(filter(None, scores))
    ((field, value),) = body.items()
    values = source[field].split() if field == "terms" else source[field]
    counts = Counter(values if isinstance(values, list) else [values])
    if kind == "prefix":
        return 1.0 if any(term.startswith(value) for term in counts) else None
    assert kind == "term"
    return counts[value] / len(values) if counts[value] else None
