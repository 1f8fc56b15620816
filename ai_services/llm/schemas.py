"""Wire types of the routes that OpenAI's clients call; what they don't name goes on as it is."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ai_services.llm.models.catalogue import Catalogue, Model

_OWNER = "looma"


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Message(_Open):
    role: str = Field(examples=["user"])
    content: str | list[dict[str, Any]] | None = Field(None, examples=["Hello"])


class ChatIn(_Open):
    """As OpenAI's `POST /v1/chat/completions`; parameters that aren't named here go on unchanged."""

    model: str = Field(description="a name that GET /v1/models lists", examples=["gpt-4o-mini"])
    messages: list[Message] = Field(min_length=1)
    stream: bool = Field(False, description="answer by server-sent events")
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    n: int | None = Field(None, ge=1, le=16)


class UsageOut(_Open):
    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class ChatOut(_Open):
    id: str
    object: Literal["chat.completion"]
    model: str = Field(description="the model that answered: another one if it stood in")
    choices: list[dict[str, Any]]
    usage: UsageOut | None = None


class EmbeddingsIn(_Open):
    """As OpenAI's `POST /v1/embeddings`."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    dimensions: int | None = Field(None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None


class EmbeddingsOut(_Open):
    object: Literal["list"]
    data: list[dict[str, Any]]
    model: str
    usage: UsageOut | None = None


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    owned_by: str = _OWNER
    kind: Literal["chat", "embeddings"]
    context: int = Field(description="tokens of a request with its answer")
    max_output: int = Field(description="tokens of an answer")

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(
            id=model.name, kind=model.kind, context=model.context, max_output=model.max_output
        )


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        return cls(data=[ModelOut.of(model) for model in catalogue.models])
