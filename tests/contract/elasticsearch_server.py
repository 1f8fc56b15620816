"""As much of Elasticsearch's HTTP protocol as the adapter speaks, in memory.

It proves that the adapter's requests are well formed, its paging and error handling right. That
Elasticsearch understands them the same way is proved by TEST_ELASTICSEARCH_URL only.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

OPERATIONS = {"index", "delete"}
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
        self.aliases: dict[str, str] = {}
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
        if parts[0] == "_alias":
            return answer(None, 200 if parts[1] in self.aliases else 404)
        index, action = parts[0], parts[1] if len(parts) > 1 else f"index_{request.method.lower()}"
        handler = getattr(self, f"_{action.lstrip('_')}")
        return await handler(request, index)

    async def _index_put(self, request: web.Request, index: str) -> web.Response:
        if index in self.indices:
            return refusal("resource_already_exists_exception", 400)
        body = await request.json()
        assert body["mappings"]["dynamic"] == "strict"
        self.indices[index] = {}
        self.aliases |= dict.fromkeys(body["aliases"], index)
        return answer({"acknowledged": True})

    async def _alias(self, request: web.Request, index: str) -> web.Response:
        assert request.method == "PUT"
        self.aliases[request.path.rpartition("/")[2]] = index
        return answer({"acknowledged": True})

    def remove(self, index: str) -> None:
        """As an operator does, at any time."""
        del self.indices[index]
        self.aliases = {alias: of for alias, of in self.aliases.items() if of != index}

    async def _refresh(self, _request: web.Request, _index: str) -> web.Response:
        return answer({"_shards": {}})

    async def _bulk(self, request: web.Request, alias: str) -> web.Response:
        assert request.query["require_alias"] == "true"
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        items: list[dict[str, Any]] = []
        index = self.aliases.get(alias)
        if index is None:
            gone = {"status": 404, "error": {"type": "index_not_found_exception"}}
            return answer(
                {
                    "errors": True,
                    "items": [{"index": gone} for line in lines if line.keys() < OPERATIONS],
                }
            )
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

    def _found(self, index: str, query: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        documents = self.indices.get(index, {})
        return [(key, source) for key, source in documents.items() if matches(query, source)]

    async def _search(self, request: web.Request, index: str) -> web.Response:
        body = await request.json()
        assert request.query["ignore_unavailable"] == "true"
        included = request.query["_source_includes"].split(",")
        assert body["sort"] == [{"at": "desc"}, {"id": "asc"}]
        found = self._found(index, body["query"])
        rows = [([source["at"], source["id"]], source) for _, source in found]
        rows.sort(key=lambda row: sort_key(row[0]))
        if after := body.get("search_after"):
            rows = [row for row in rows if sort_key(row[0]) > sort_key(after)]
        hits = [
            {
                "_score": None,
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
        for key, _ in found:
            del self.indices[index][key]
        return answer({"deleted": len(found), "failures": []})


def sort_key(sort: list[Any]) -> tuple[int, str]:
    return (-sort[0], sort[1])


def matches(query: dict[str, Any], source: dict[str, Any]) -> bool:
    ((kind, body),) = query.items()
    if kind == "bool":
        return all(matches(part, source) for part in body["filter"])
    ((field, value),) = body.items()
    values = source[field].split() if field == "terms" else source[field]
    held = set(values if isinstance(values, list) else [values])
    if kind == "prefix":
        return any(term.startswith(value) for term in held)
    assert kind == "term"
    return value in held
