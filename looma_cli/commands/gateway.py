"""`looma gateway`: the route table, and what can be done to gateways that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from shared.config import Config

_ANSWERS_S = 5.0  # for a gateway that is busy, or reads its table from a slow disk
gateway = typer.Typer(help="The route table; gateways that run.", no_args_is_help=True)


@gateway.callback()
def _group() -> None:
    """The route table; gateways that run."""


@gateway.command()
def routes() -> None:
    """Print the route table that comes with the program, as a file for GATEWAY_ROUTES."""
    from gateway.routing.packaged import packaged_text

    typer.echo(packaged_text(), nl=False)


@gateway.command()
def reload() -> None:
    """Let every gateway read its route table (GATEWAY_ROUTES) again; a wrong one changes nothing."""
    from looma_cli import exit_codes
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    answers, silent = run(_reload)
    for answer in answers:
        if answer["ok"]:
            say(f"Gateway {answer['gateway']}: {answer['routes']} routes.")
        else:
            say(f"Gateway {answer['gateway']} keeps its table: {answer['reason']}")
    if silent:
        said = "1 gateway has" if silent == 1 else f"{silent} gateways have"
        say(f"{said} not answered within {_ANSWERS_S:.0f} s. Reload again, or look at the logs.")
    elif not answers:
        say("No gateway answered. Is one running on this Redis?")
    if silent or not answers or not all(answer["ok"] for answer in answers):
        raise typer.Exit(exit_codes.FAILED)


async def _reload(config: Config) -> tuple[list[dict[str, Any]], int]:
    """What each gateway said, and how many were asked and did not answer within a few seconds."""
    import asyncio

    import orjson

    from shared.data_access.cache.redis import RedisCache
    from shared.gateway_reload import TOLD, ask_for_reload
    from shared.store_urls import store_urls

    cache = RedisCache(config.redis_url or store_urls(config, {"cache"}).redis)
    answers: list[dict[str, Any]] = []
    try:
        async with cache.subscribe(TOLD) as messages:
            asked = await ask_for_reload(cache)
            try:
                async with asyncio.timeout(_ANSWERS_S):
                    while len(answers) < asked:
                        answers.append(orjson.loads(await anext(messages)))
            except TimeoutError:
                pass  # told as silent
    finally:
        await cache.close()
    return answers, asked - len(answers)
