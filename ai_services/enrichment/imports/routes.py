"""Endpoints of files that are sent, tried out, and taken back: parse, call, respond."""

from sanic.response import HTTPResponse

from ai_services.enrichment import service
from ai_services.enrichment.imports import schemas, uploads
from ai_services.enrichment.imports.answer import answer_with_file, answer_with_upload
from ai_services.enrichment.imports.how_to_read import MEDIA_TYPES, HowToRead
from ai_services.enrichment.imports.keeping import MOST_BYTES
from ai_services.enrichment.imports.receiving import Sent
from ai_services.enrichment.schemas import UploadQuery
from ai_services.enrichment.service import Stores
from shared.jobs.answer import JobOut, answer_with_job
from shared.serving.http_edge import Upload
from shared.serving.service import Call, Endpoint


async def send_import(call: Call[Stores]) -> HTTPResponse:
    q: UploadQuery = call.query
    upload: Upload = call.body
    how = HowToRead.asked(
        preset=q.preset, column_map=q.column_map, encoding=q.encoding,
        strict_columns=q.strict_columns, sheet=q.sheet, charset=upload.charset,
        timezone=q.timezone,
    )  # fmt: skip
    sent = Sent.named(q.name, upload.media, aiter(upload), how, only_tried=q.dry_run)
    stores = call.state
    complete = uploads.complete_of(call.request.headers, unsaid=True)
    done = await uploads.begin(
        stores.relational, stores.data_key, call.org_id, sent, complete=complete
    )
    return await answer_with_file(call, stores.relational, done, begun=True)


async def append_upload(call: Call[Stores]) -> HTTPResponse:
    headers, stores = call.request.headers, call.state
    at = uploads.Upload(service.upload_id(call.params["upload"]), uploads.offset_of(headers))
    complete = uploads.complete_of(headers, unsaid=False)
    done = await uploads.append(
        stores.relational, stores.data_key, call.org_id, at, aiter(call.body), complete=complete
    )
    return await answer_with_file(call, stores.relational, done)


async def get_upload(call: Call[Stores]) -> HTTPResponse:
    found = await uploads.ask(
        call.state.relational, call.org_id, service.upload_id(call.params["upload"])
    )
    return answer_with_upload(call, found)


async def give_upload_up(call: Call[Stores]) -> None:
    await uploads.give_up(
        call.state.relational, call.org_id, service.upload_id(call.params["upload"])
    )


async def take_import_back(call: Call[Stores]) -> HTTPResponse:
    db = call.state.relational
    job_id = await service.take_back(db, call.org_id, call.params["import_id"])
    return await answer_with_job(call, db, job_id, schemas.ImportTakenBack.of)


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "POST", "/api/v1/imports", send_import, "calls:write",
        "Import a file of calls by a job; `Prefer: wait=N` answers when it has ended, within 60 s",
        query=UploadQuery, takes=tuple(MEDIA_TYPES), body_limit=MOST_BYTES,
        returns=JobOut, status=202, waited=schemas.ImportEnded,
    ),
    Endpoint(
        "GET", "/api/v1/uploads/{upload}", get_upload, "calls:write",
        "How much has come of a file that is sent in several requests",
        returns=schemas.UploadOut,
    ),
    Endpoint(
        "PATCH", "/api/v1/uploads/{upload}", append_upload, "calls:write",
        "Send the next part of a file; with `Upload-Complete: ?1` the last one, answered as an import",
        takes=(uploads.PARTIAL,), body_limit=MOST_BYTES, returns=schemas.UploadOut,
    ),
    Endpoint(
        "DELETE", "/api/v1/uploads/{upload}", give_upload_up, "calls:write",
        "Give up a file that is sent in several requests",
    ),
    Endpoint(
        "DELETE", "/api/v1/imports/{import_id}", take_import_back, "calls:write",
        "Take an import back by a job: delete the calls that it brought in, unless changed since",
        returns=JobOut, status=202, waited=schemas.ImportTakenBack,
    ),
]  # fmt: skip
