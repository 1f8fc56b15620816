"""Wire types of files and batches, as OpenAI's API has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ai_services.llm.batches.batch import Batch, Ended, Endpoint
from ai_services.llm.batches.files import KeptFile

_FILE: Final = "file-"
_BATCH: Final = "batch_"


def file_name(file_id: UUID) -> str:
    return f"{_FILE}{file_id.hex}"


class FileOut(BaseModel):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: KeptFile) -> Self:
        return cls(
            id=file_name(file.file_id), bytes=file.bytes, created_at=_seconds(file.created_at),
            filename=file.filename, purpose=file.purpose,
        )  # fmt: skip


class FileDeletedOut(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchIn(BaseModel):
    """As OpenAI's `POST /v1/batches`."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(description="what POST /v1/files named it")
    endpoint: Endpoint
    completion_window: Literal["24h"] = "24h"
    metadata: (
        dict[
            Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")],
            Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")],
        ]
        | None
    ) = Field(None, max_length=16)


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class BatchErrors(BaseModel):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]]


class BatchOut(BaseModel):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: Literal[
        "validating", "in_progress", "finalizing", "cancelling",
        "completed", "failed", "expired", "cancelled",
    ]  # fmt: skip
    output_file_id: str | None
    error_file_id: str | None = Field(description="of the requests that have no answer")
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, batch: Batch) -> Self:

        def ended(status: Ended) -> int | None:
            return _maybe(batch.ended_at) if batch.status == status else None

        return cls(
            id=f"{_BATCH}{batch.batch_id.hex}",
            endpoint=batch.endpoint,
            model=batch.model,
            errors=None if batch.errors is None else BatchErrors(data=batch.errors),
            input_file_id=file_name(batch.input_file_id),
            status=batch.status,
            output_file_id=_maybe_file(batch.output_file_id),
            error_file_id=_maybe_file(batch.error_file_id),
            created_at=_seconds(batch.created_at),
            in_progress_at=_maybe(batch.in_progress_at),
            expires_at=_seconds(batch.expires_at),
            finalizing_at=_maybe(batch.finalizing_at),
            completed_at=ended("completed"),
            failed_at=ended("failed"),
            expired_at=ended("expired"),
            cancelled_at=ended("cancelled"),
            cancelling_at=_maybe(batch.cancelling_at),
            request_counts=RequestCounts(
                total=batch.total, completed=batch.completed, failed=batch.failed
            ),
            metadata=None if batch.metadata is None else dict(batch.metadata),
        )


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _maybe(at: datetime | None) -> int | None:
    return None if at is None else _seconds(at)


def _maybe_file(file_id: UUID | None) -> str | None:
    return None if file_id is None else file_name(file_id)
