"""Wire types of files that are sent, tried out, and taken back."""

from uuid import UUID

from pydantic import BaseModel, Field, RootModel

from ai_services.enrichment.imports.uploads import Upload
from ai_services.enrichment.schemas import ImportDone, RejectOut
from shared.jobs.store.jobs import Job


class ImportTried(BaseModel):
    rows: int = Field(description="read in all; the next three add up to it")
    good: int = Field(description="would come in, or are there already")
    duplicates: int = Field(description="a later row near them has the same callid")
    rejected: int
    noted: dict[str, int] = Field({}, description="how many rows have a note, by its field")
    cut: bool = Field(description="the file ends too soon")
    error: str | None = Field(description="why an import would end before the file does")
    notes: list[str]
    rejects: list[RejectOut] = Field(description="the first of the rejected rows")

    @classmethod
    def of(cls, job: Job) -> "ImportTried":
        """Of a job that succeeded."""
        return cls(**(job.result or {}))


class ImportEnded(RootModel[ImportDone | ImportTried]):
    """What came of a file: of one that was imported, or only tried out."""


def ended_import(job: Job) -> ImportDone | ImportTried:
    """Of a job that succeeded, of either kind."""
    return ImportTried.of(job) if "good" in (job.result or {}) else ImportDone.of(job)


class UploadOut(BaseModel):
    upload_id: UUID
    complete: bool = Field(description="all of it has come")
    offset: int | None = Field(description="bytes that have come; null once all have")
    job_id: int | None = Field(description="that imports it; null before all of it has come")

    @classmethod
    def of(cls, upload: Upload) -> "UploadOut":
        complete = upload.job_id is not None
        return cls(
            upload_id=upload.upload_id,
            complete=complete,
            offset=None if complete else upload.offset,
            job_id=upload.job_id,
        )


class ImportTakenBack(BaseModel):
    import_id: UUID
    deleted: int = Field(description="calls that it had brought in, with their transcripts")
    kept_changed: int = Field(
        description="calls that it had brought in and that were changed, or deleted, since"
    )
    kept_updated: int = Field(
        description="calls that were there before it: they stay as it left them"
    )

    @classmethod
    def of(cls, job: Job) -> "ImportTakenBack":
        """Of a job that succeeded."""
        return cls(**(job.result or {}))
