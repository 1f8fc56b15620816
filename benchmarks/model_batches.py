"""Files and batches of the model server on loopback: OpenAI's Batch API over real HTTP.

A batch is answered when somebody looks at it, by the same answers as single requests, and its lines
are billed; `BatchBehaviour` makes it take longer, fail, expire, or end before all is answered. By HTTP,
`PUT /control/batches` takes the same fields as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson
from aiohttp import web

_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_AT: Final = 1_700_000_000

# Status and body of the answer to one request.
Answering = Callable[[str, str, Mapping[str, Any]], tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class BatchBehaviour:
    """`status` is where batches stay. `answered`: so many lines have an answer; None: all.

    `refuse` and `lost` are of their creation: the status it is refused with; made, but the
    connection is cut before that is said.
    """

    status: str = "completed"
    answered: int | None = None
    refuse: int = 0
    lost: bool = False
    missing: bool = False  # lines that are answered and in no file
    backwards: bool = False  # answers come in another order


@dataclass(slots=True)
class Batches:
    """Files by their names, batches by theirs; `behaviour` is of all of them."""

    answering: Answering
    behaviour: BatchBehaviour = field(default_factory=BatchBehaviour)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def routes(self, allowed: Callable[[web.Request], bool]) -> list[web.RouteDef]:
        def only(handler: Any) -> Any:
            async def handle(request: web.Request) -> web.StreamResponse:
                if not allowed(request):
                    return _error(401, "invalid_api_key")
                response: web.StreamResponse = await handler(request)
                return response

            return handle

        return [
            web.post("/v1/files", only(self._upload)),
            web.get("/v1/files/{file}/content", only(self._content)),
            web.delete("/v1/files/{file}", only(self._delete)),
            web.post("/v1/batches", only(self._create)),
            web.get("/v1/batches", only(self._list)),
            web.get("/v1/batches/{batch}", only(self._look)),
            web.post("/v1/batches/{batch}/cancel", only(self._cancel)),
            web.put("/control/batches", self._control),
        ]

    async def _control(self, request: web.Request) -> web.StreamResponse:
        self.behaviour = BatchBehaviour(**orjson.loads(await request.read()))
        return web.Response(status=204)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        file = form.get("file")
        if form.get("purpose") != "batch" or not isinstance(file, web.FileField):
            return _error(400, "invalid_request_error")
        name = self._keep(file.file.read())
        about = {
            "id": name, "object": "file", "bytes": len(self.files[name]), "created_at": _AT,
            "filename": file.filename, "purpose": "batch", "status": "processed",
        }  # fmt: skip
        return web.json_response(about)

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self.files.get(request.match_info["file"])
        return _error(404, None) if content is None else web.Response(body=content)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if self.files.pop(name, None) is None:
            return _error(404, None)
        self.deleted.append(name)
        return web.json_response({"id": name, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if self.behaviour.refuse:
            return _error(self.behaviour.refuse, None)
        content = self.files.get(body["input_file_id"])
        if content is None:
            return _error(400, "invalid_request_error")
        name = f"batch_{uuid4().hex}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": body["endpoint"], "errors": None,
            "input_file_id": body["input_file_id"], "completion_window": "24h",
            "status": "validating", "output_file_id": None, "error_file_id": None,
            "created_at": _AT, "metadata": body.get("metadata"),
            "request_counts": {"total": content.count(b"\n"), "completed": 0, "failed": 0},
        }  # fmt: skip
        if self.behaviour.lost:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.json_response(self.batches[name])

    async def _list(self, request: web.Request) -> web.StreamResponse:
        """Newest first."""
        names = list(reversed(self.batches))
        after = request.query.get("after")
        start = names.index(after) + 1 if after in names else 0
        limit = int(request.query.get("limit", "20"))
        page = [self.batches[name] for name in names[start : start + limit]]
        has_more = len(names) > start + limit
        return web.json_response({"object": "list", "data": page, "has_more": has_more})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["batch"])
        if batch is None:
            return _error(404, None)
        if batch["status"] not in _ENDED:
            self._go_on(batch, "cancelled" if batch["status"] == "cancelling" else None)
        return web.json_response(batch)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["batch"])
        if batch is None:
            return _error(404, None)
        if batch["status"] in _ENDED:
            return _error(409, None)
        batch["status"] = "cancelling"
        return web.json_response(batch)

    def _go_on(self, batch: dict[str, Any], status: str | None) -> None:
        batch["status"] = status or self.behaviour.status
        if batch["status"] == "failed":
            error = {"code": "invalid_json_line", "message": "A line is wrong.", "line": 1}
            batch["errors"] = {"object": "list", "data": [error]}
        elif batch["status"] in _ENDED:
            self._answer(batch)

    def _answer(self, batch: dict[str, Any]) -> None:
        answers, failures = list[dict[str, Any]](), list[dict[str, Any]]()
        for number, raw in enumerate(self.files[batch["input_file_id"]].splitlines()):
            line = orjson.loads(raw)
            about = {"id": f"batch_req_{number}", "custom_id": line["custom_id"]}
            if self.behaviour.answered is not None and number >= self.behaviour.answered:
                code = f"batch_{batch['status']}"
                failures.append({**about, "response": None, "error": {"code": code}})
                continue
            status, body = self.answering(line["custom_id"], line["url"], line["body"])
            response = {"status_code": status, "request_id": f"req_{number}", "body": body}
            several = answers if status == 200 else failures
            several.append({**about, "response": response, "error": None})
        if self.behaviour.backwards:
            answers.reverse()
        if self.behaviour.missing:
            answers = []
        batch["output_file_id"] = self._lines(answers)
        batch["error_file_id"] = self._lines(failures)
        batch["request_counts"] |= {"completed": len(answers), "failed": len(failures)}

    def _lines(self, lines: list[dict[str, Any]]) -> str | None:
        return self._keep(b"\n".join(map(orjson.dumps, lines)) + b"\n") if lines else None

    def _keep(self, content: bytes) -> str:
        name = f"file-{uuid4().hex}"
        self.files[name] = content
        return name


def _error(status: int, code: str | None) -> web.Response:
    error = {"message": f"The model server answers {status}.", "type": "invalid_request_error"}
    return web.json_response({"error": {**error, "param": None, "code": code}}, status=status)
