"""Endpoints of files and batches: parse, call, respond, as OpenAI's clients know them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sanic.response import HTTPResponse

from ai_services.llm import answering
from ai_services.llm import batch_schemas as schemas
from ai_services.llm.asking.question import Asker
from ai_services.llm.batches.batches import Wanted
from ai_services.llm.batches.files import MOST_BYTES
from ai_services.llm.protocol.form import read_form
from ai_services.llm.request_headers import prompt_version_of, purpose_of
from ai_services.llm.state import State
from shared.errors import InvalidInput, NotFound
from shared.serving.service import Call, Endpoint
from shared.wire import IDEMPOTENCY_KEY_HEADER, REQUEST_ID_HEADER, idempotency_key

_FORM: Final = "multipart/form-data"
_FORM_BYTES: Final = MOST_BYTES + (64 << 10)
_LONGEST_NAME: Final = 200


async def create_file(call: Call[State]) -> HTTPResponse:
    body = b"".join([part async for part in call.body])
    fields = read_form(call.request.headers.get("content-type", ""), body)
    purpose, file = fields.get("purpose"), fields.get("file")
    if purpose is None or purpose.content != b"batch":
        raise InvalidInput.of("purpose", "is not what files are taken for", "send batch")
    if file is None or not file.content.strip():
        raise InvalidInput.of("file", "is missing or empty", "send JSON Lines")
    name = file.filename.replace("\0", "")[:_LONGEST_NAME] or "batch.jsonl"
    kept = await call.state.files.keep(call.org_id, name, file.content)
    return answering.document(schemas.FileOut.of(kept), call.request_id)


async def get_file(call: Call[State]) -> HTTPResponse:
    kept = await call.state.files.about(call.org_id, _file_id(call.params["file_id"]))
    return answering.document(schemas.FileOut.of(kept), call.request_id)


async def get_content(call: Call[State]) -> HTTPResponse:
    file_id = _file_id(call.params["file_id"])
    content = await call.state.files.content(call.org_id, file_id)
    name = f'attachment; filename="{schemas.file_name(file_id)}.jsonl"'
    headers = {REQUEST_ID_HEADER: call.request_id, "content-disposition": name}
    return HTTPResponse(content, 200, headers, "application/octet-stream")


async def delete_file(call: Call[State]) -> HTTPResponse:
    file_id = _file_id(call.params["file_id"])
    await call.state.files.delete(call.org_id, file_id)
    deleted = schemas.FileDeletedOut(id=schemas.file_name(file_id))
    return answering.document(deleted, call.request_id)


async def create_batch(call: Call[State]) -> HTTPResponse:
    body: schemas.BatchIn = call.body
    headers = call.request.headers
    asker = Asker(
        call.org_id,
        call.principal.subject,
        purpose_of(headers),
        UUID(call.request_id),
        prompt_version_of(headers),
    )
    key = idempotency_key(headers.getall(IDEMPOTENCY_KEY_HEADER, ()))
    wanted = Wanted(_file_id(body.input_file_id), body.endpoint, body.metadata, key)
    batch = await call.state.batches.create(asker, wanted)
    return answering.document(schemas.BatchOut.of(batch), call.request_id)


async def get_batch(call: Call[State]) -> HTTPResponse:
    batch = await call.state.batches.read(call.org_id, _batch_id(call.params["batch_id"]))
    return answering.document(schemas.BatchOut.of(batch), call.request_id)


async def cancel_batch(call: Call[State]) -> HTTPResponse:
    batch = await call.state.batches.cancel(call.org_id, _batch_id(call.params["batch_id"]))
    return answering.document(schemas.BatchOut.of(batch), call.request_id)


def _file_id(name: str) -> UUID:
    return _id(name, "file-", "There is no such file: its id is what POST /v1/files answered.")


def _batch_id(name: str) -> UUID:
    return _id(name, "batch_", "There is no such batch: its id is what POST /v1/batches answered.")


def _id(name: str, prefix: str, otherwise: str) -> UUID:
    digits = name.removeprefix(prefix)
    try:
        found = UUID(hex=digits)
    except ValueError:
        raise NotFound(otherwise) from None
    if digits == name or digits != found.hex:
        raise NotFound(otherwise)
    return found


endpoints: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/v1/files", create_file, "llm:use",
        "Send a file of requests for a batch, as OpenAI's API has it: JSON Lines, purpose batch",
        takes=(_FORM,), body_limit=_FORM_BYTES, returns=schemas.FileOut, enveloped=False,
        failed=answering.failed, failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "GET", "/v1/files/{file_id}", get_file, "llm:use", "One file of a batch",
        returns=schemas.FileOut, enveloped=False, failed=answering.failed,
        failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "DELETE", "/v1/files/{file_id}", delete_file, "llm:use", "Delete a file of a batch",
        returns=schemas.FileDeletedOut, enveloped=False, failed=answering.failed,
        failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "GET", "/v1/files/{file_id}/content", get_content, "llm:use",
        "The lines of a file: requests as they were sent, answers, or errors",
        enveloped=False, failed=answering.failed, failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "POST", "/v1/batches", create_batch, "llm:use",
        "Have the requests of a file answered within a day, for less",
        body=schemas.BatchIn, body_limit=65_536, returns=schemas.BatchOut, enveloped=False,
        failed=answering.failed, failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "GET", "/v1/batches/{batch_id}", get_batch, "llm:use", "How far a batch is",
        returns=schemas.BatchOut, enveloped=False, failed=answering.failed,
        failure_schema="OpenAIError", tags=("llm",),
    ),
    Endpoint(
        "POST", "/v1/batches/{batch_id}/cancel", cancel_batch, "llm:use",
        "End a batch; what is answered by then is charged and kept",
        returns=schemas.BatchOut, enveloped=False, failed=answering.failed,
        failure_schema="OpenAIError", tags=("llm",),
    ),
]  # fmt: skip
