"""What a request that sends a file, or a part of it, is answered."""

from __future__ import annotations

from typing import Any

from sanic.response import HTTPResponse

from ai_services.enrichment.imports import schemas, uploads
from shared.data_access.ports import Relational
from shared.jobs.answer import answer_with_job
from shared.serving.envelope import success
from shared.serving.service import Call


async def answer_with_file(
    call: Call[Any], db: Relational, done: int | uploads.Upload, *, begun: bool = False
) -> HTTPResponse:
    """As `answer_with_job` for the job of a file that is whole, else how far it is."""
    if isinstance(done, uploads.Upload):
        return answer_with_upload(call, done, 201 if begun else 200)
    response = await answer_with_job(call, db, done, schemas.ended_import)
    response.headers["upload-complete"] = "?1"
    return response


def answer_with_upload(call: Call[Any], upload: uploads.Upload, status: int = 200) -> HTTPResponse:
    """How far an upload is, in the body and in the fields of the draft."""
    shown = schemas.UploadOut.of(upload)
    response = success(shown, call.request_id, status)
    response.headers["cache-control"] = "no-store"
    response.headers["upload-complete"] = "?1" if shown.complete else "?0"
    response.headers["upload-limit"] = uploads.LIMIT
    if not shown.complete:
        response.headers["upload-offset"] = str(upload.offset)
    if status == 201:
        response.headers["location"] = f"/api/v1/uploads/{upload.upload_id}"
    return response
