"""Wire types about customers and erasures."""

import datetime as dt
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ai_services.enrichment.customers.alias_store import Merge
from ai_services.enrichment.customers.erasure_store import Erasure
from ai_services.enrichment.customers.merging import Who
from shared.cursor import Cursor, Page
from shared.ids import Id


class MergeIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    into: Id = Field(description="the customer whose calls they become")


class NumberIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: str = Field(max_length=40)


class IdentityOut(BaseModel):
    customer_id: str | None = Field(description="null: the number makes no customer")


class SplitIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    merge_id: UUID = Field(description="the merge to undo, as the history names it")


class MergeOut(BaseModel):
    merge_id: UUID
    customer_id: str = Field(description="who was merged")
    into: str
    calls: int = Field(description="that moved with it then")
    merged_at: dt.datetime
    merged_by: str
    split_at: dt.datetime | None = Field(description="when it was undone; null: it holds")
    split_by: str | None

    @classmethod
    def of(cls, merge: Merge) -> "MergeOut":
        return cls(
            merge_id=merge.merge_id, customer_id=merge.customer_id, into=merge.into_id,
            calls=merge.calls, merged_at=merge.merged_at, merged_by=merge.merged_by,
            split_at=merge.split_at, split_by=merge.split_by,
        )  # fmt: skip


class CustomerHistoryQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cursor: Cursor | None = None
    limit: int = Field(100, ge=1, le=1000)


class CustomerHistory(BaseModel):
    customer_id: str
    survivor: str = Field(description="under whom the calls are; the customer itself unless merged")
    aliases: list[str] = Field(description="whose calls are under this customer")
    merges: list[MergeOut] = Field(description="of all who are one with it, newest first")
    next_cursor: str | None

    @classmethod
    def of(cls, found: tuple[Who, Page[Merge]]) -> "CustomerHistory":
        who, page = found
        return cls(
            customer_id=who.customer_id, survivor=who.survivor, aliases=list(who.aliases),
            merges=[MergeOut.of(one) for one in page.items], next_cursor=page.next_cursor,
        )  # fmt: skip


class ErasureOut(BaseModel):
    """A receipt. It names nobody: `digest` is a keyed hash of the id."""

    erasure_id: UUID
    kind: Literal["call", "customer"]
    state: Literal["running", "done"]
    requested_at: dt.datetime
    requested_by: str
    finished_at: dt.datetime | None
    job_id: int | None = Field(description="that does it; null: it was done at once")
    calls: int
    transcripts: int
    rejects: int = Field(description="rejected rows of imports")
    customers: int = Field(description="ids, with those that were merged into it")
    digest: str
    hash: str | None = Field(description="SHA-256 of the receipt, as in the audit log")

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureOut":
        return cls(
            erasure_id=erasure.erasure_id,
            kind=erasure.kind,
            state="running" if erasure.finished_at is None else "done",
            requested_at=erasure.requested_at,
            requested_by=erasure.requested_by,
            finished_at=erasure.finished_at,
            job_id=erasure.job_id,
            calls=erasure.calls,
            transcripts=erasure.transcripts,
            rejects=erasure.rejects,
            customers=erasure.customers,
            digest=erasure.digest.hex(),
            hash=erasure.hash,
        )


class ReadmittedOut(BaseModel):
    ids: int = Field(description="that were kept out, and are brought in again when they come")
