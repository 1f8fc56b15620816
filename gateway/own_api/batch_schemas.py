"""Wire types of POST /api/v1/batch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

MAX_ITEMS = 100


class BatchItem(BaseModel):
    """One request of a batch, written as it would be sent alone by the same caller."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, Field(pattern=r"^/[!-~]{0,4095}$")] = Field(
        description="path and query", examples=["/api/v1/periods?type=month"]
    )
    headers: dict[str, Annotated[str, Field(pattern=r"^[ -~]{0,1024}$")]] = Field(
        {},
        max_length=10,
        description="any of accept, accept-language, idempotency-key, if-match, if-none-match",
    )
    body: Any = Field(None, description="JSON; leave out for none")


class BatchIn(BaseModel):
    """Items are checked one by one: a wrong one is answered with its error, the others as usual."""

    model_config = ConfigDict(extra="forbid")

    requests: list[SkipValidation[BatchItem]] = Field(
        min_length=1,
        max_length=MAX_ITEMS,
        description="at most ten are carried out at a time, in no particular order",
    )


class BatchItemOut(BaseModel):
    status: int
    headers: dict[str, str]
    body: Any = Field(
        description="the answer's JSON, or its text; of a failure the error envelope; null for none"
    )
    omitted: Literal["too_large", "not_text"] | None = Field(
        None, description="why the body of an answer is missing here; ask for that item alone"
    )


class BatchOut(BaseModel):
    responses: list[BatchItemOut] = Field(description="in the order of the requests")
