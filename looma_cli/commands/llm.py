"""`looma llm`: the models that can be asked, and whether one answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from uuid import UUID

    import httpx

    from ai_services.llm.models.catalogue import Catalogue, Model
    from shared.config import Config
    from shared.data_access.ports import Relational, Row

_PATIENCE_S = 120.0
_LOOK_S = 0.05
_SETTLED_S = 3.0  # the ledger is written beside the answer
_QUESTION = "Answer with the one word: ready"
_MOST_TOKENS = 64
_PATHS = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}
_OK = 200
llm = typer.Typer(no_args_is_help=True, help="Language models: list them, test one.")


@dataclass(frozen=True)
class _Answer:
    """What a model said, after how long, and the attempts that it took."""

    model: str
    text: str
    seconds: float
    attempts: list[Row]


@llm.command("models")
def list_models(as_json: AsJson = False) -> None:
    """Show the models that the settings of this environment name, with today's prices."""
    from ai_services.llm.models.opening import open_catalogue
    from looma_cli.runner import settings
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    catalogue = open_catalogue(settings())
    rows = [_row(model, catalogue) for model in catalogue.models]
    if as_json:
        write_json(rows)
    elif not rows:
        say("No provider is set up. Set LLM_MODELS, or LLM_BASE_URL and LLM_MODEL (docs/llm.md).")
    else:
        columns = (
            "model", "kind", "providers", "#context", "#max_output", "#input", "#output", "fallbacks",
        )  # fmt: skip
        names = [name.lstrip("#") for name in columns]
        title = f"Prices in {catalogue.currency} per million tokens"
        results().print(table(columns, ([row[name] for name in names] for row in rows), title))


def _row(model: Model, catalogue: Catalogue) -> dict[str, Any]:
    from datetime import UTC, datetime

    from shared.errors import NoPrice

    try:
        price = catalogue.price(model, datetime.now(UTC).date())
    except NoPrice:
        price = None
    return {
        "model": model.name,
        "kind": model.kind,
        "providers": ", ".join(one.provider.name for one in model.deployments),
        "context": model.context,
        "max_output": model.max_output or None,
        "input": None if price is None else str(price.input),
        "output": None if price is None else str(price.output),
        "fallbacks": ", ".join(model.fallbacks) or None,
    }


@llm.command("test")
def try_model(
    model: Annotated[str, typer.Argument(help="As looma llm models lists them.")],
    org: Org = None,
) -> None:
    """Ask a model one short question through the running platform: latency, tokens, cost.

    It is charged as every request is, with the purpose `test`.
    """
    from looma_cli.runner import run

    _show(run(lambda config: _test(config, model, org)))


async def _test(config: Config, model: str, org: str | None) -> _Answer:
    from looma_cli.commands.access import as_operator
    from looma_cli.supervision.run_state import RunFiles
    from shared.errors import UpstreamUnavailable

    files = RunFiles(config.home)
    state = files.read() if files.is_held() else None
    if state is None:
        raise UpstreamUnavailable(
            f"No platform runs on {config.home}. Start it with `looma up`, in this environment."
        )
    async with as_operator(config, org) as (auth, me):
        token = await auth.sessions.mint(me, "agent")
        return await _ask(auth.relational, me.org_id, state.gateway_url, token, model)


async def _ask(
    relational: Relational, org_id: UUID, gateway: str, token: str, model: str
) -> _Answer:
    from urllib.parse import quote
    from uuid import UUID

    import httpx

    from shared.errors import UpstreamUnavailable
    from shared.wire import REQUEST_ID_HEADER

    headers = {"Authorization": f"Bearer {token}", "X-Purpose": "test"}
    try:
        async with httpx.AsyncClient(
            base_url=gateway, headers=headers, timeout=_PATIENCE_S
        ) as client:
            kind = _said(await client.get(f"/v1/models/{quote(model, safe='')}"))["kind"]
            began = time.monotonic()
            answer = await client.post(_PATHS[kind], json=_question(kind, model))
            seconds = time.monotonic() - began
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
        raise UpstreamUnavailable(f"The gateway at {gateway} did not answer: {said}.") from error
    said = _said(answer)
    text = said["choices"][0]["message"].get("content") or "" if kind == "chat" else ""
    request_id = UUID(answer.headers[REQUEST_ID_HEADER])
    attempts = await _attempts(relational, org_id, request_id)
    return _Answer(said["model"], text, seconds, attempts)


def _question(kind: str, model: str) -> dict[str, Any]:
    if kind == "embeddings":
        return {"model": model, "input": _QUESTION}
    messages = [{"role": "user", "content": _QUESTION}]
    return {"model": model, "messages": messages, "max_tokens": _MOST_TOKENS}


def _said(answer: httpx.Response) -> Any:
    """The document; what it says of a failure is raised."""
    from shared.errors import UpstreamError

    try:
        document = answer.json()
    except ValueError:
        document = {}
    if answer.status_code == _OK:
        return document
    error = document.get("error") or {}
    code = error.get("code") or error.get("type") or ""
    message = error.get("message") or answer.text[:200]
    raise UpstreamError(f"{message} ({answer.status_code} {code})".replace(" )", ")"))


async def _attempts(relational: Relational, org_id: UUID, request_id: UUID) -> list[Row]:
    """Once they are settled, or after some seconds as they are."""
    from ai_services.llm.spend.costs_store import attempts_of

    ends = time.monotonic() + _SETTLED_S
    while True:
        async with relational.tenant(org_id, readonly=True) as tx:
            found = await attempts_of(tx, org_id, request_id)
        if (found and all(one["settled_at"] for one in found)) or time.monotonic() > ends:
            return found
        await asyncio.sleep(_LOOK_S)


def _show(answer: _Answer) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import shown, table

    console = results()
    said = f": {shown(answer.text[:200])}" if answer.text else "."
    console.print(f"{answer.model} answered after {answer.seconds:.2f} s{said}", soft_wrap=True)
    columns = ("provider", "model", "outcome", "#ms", "#read", "#written", "tokens by", "#cost")
    rows = [
        (
            one["provider"], one["model"], one["outcome"], one["latency_ms"], one["input_tokens"],
            one["output_tokens"], one["source"],
            None if one["cost"] is None else f"{one['cost']:.8f}",
        )
        for one in answer.attempts
    ]  # fmt: skip
    console.print(table(columns, rows))
