"""`looma`: the command line. Commands import what they need, so that `looma --help` is instant."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from looma_cli import exit_codes
from looma_cli.commands import (
    access,
    audit,
    compute,
    down,
    gateway,
    jobs,
    llm,
    logs,
    portrait,
    projections,
    schedules,
    segments,
    spend,
    status,
    tenants,
    up,
)
from looma_cli.commands.analyze import group as analyze
from looma_cli.commands.calls import (
    analysis,
    corrections,
    customers,
    demo,
    import_file,
    imports,
    sync,
)
from shared.errors import ConfigError, LoomaError

_CODES = "  ".join(f"{code} {meaning}." for code, meaning in exit_codes.MEANING)

app = typer.Typer(
    name="looma",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=f"Exit codes: {_CODES}\n\nSettings come from the environment; env.example lists them.",
)
_LIFE, _DATA, _MODELS, _JOBS = "Life", "Data", "Models", "Jobs"
_ACCESS, _UPKEEP = "Access", "Upkeep"
app.command(rich_help_panel=_LIFE)(up.up)
app.command(hidden=True)(up.serve)
app.command(rich_help_panel=_LIFE)(status.status)
app.command(rich_help_panel=_LIFE)(logs.logs)
app.command(rich_help_panel=_LIFE)(down.down)
app.command(rich_help_panel=_LIFE)(down.reset)
app.command("import", rich_help_panel=_DATA)(import_file.import_file)
app.add_typer(customers.customers, name="customers", rich_help_panel=_DATA)
app.add_typer(customers.calls, name="calls", rich_help_panel=_DATA)
for _command in (corrections.correct, corrections.corrections, corrections.withdraw):
    customers.calls.command()(_command)
app.add_typer(analysis.analysis, name="analysis", rich_help_panel=_DATA)
app.add_typer(analyze.analyze, name="analyze", rich_help_panel=_DATA)
app.add_typer(sync.sync, name="sync", rich_help_panel=_DATA)
app.add_typer(imports.imports, name="imports", rich_help_panel=_DATA)
app.command(rich_help_panel=_DATA)(compute.compute)
app.add_typer(portrait.portrait, name="portrait", rich_help_panel=_DATA)
app.command(rich_help_panel=_DATA)(portrait.trend)
app.add_typer(segments.segments, name="segments", rich_help_panel=_DATA)
app.command(rich_help_panel=_DATA)(demo.demo)
app.add_typer(llm.llm, name="llm", rich_help_panel=_MODELS)
app.command(rich_help_panel=_MODELS)(spend.costs)
app.add_typer(spend.budgets, name="budgets", rich_help_panel=_MODELS)
app.add_typer(jobs.jobs, name="jobs", rich_help_panel=_JOBS)
app.add_typer(schedules.schedules, name="schedules", rich_help_panel=_JOBS)
app.command(rich_help_panel=_ACCESS)(access.token)
app.add_typer(access.keys, name="keys", rich_help_panel=_ACCESS)
app.add_typer(tenants.orgs, name="orgs", rich_help_panel=_ACCESS)
app.add_typer(tenants.users, name="users", rich_help_panel=_ACCESS)
app.add_typer(audit.audit, name="audit", rich_help_panel=_ACCESS)
app.add_typer(gateway.gateway, name="gateway", rich_help_panel=_UPKEEP)
app.command(rich_help_panel=_UPKEEP)(projections.rebuild)
app.add_typer(projections.dead_letters, name="dead-letters", rich_help_panel=_UPKEEP)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("looma-ai"))
        raise typer.Exit


@app.callback()
def looma(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of what goes wrong.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Looma AI: a self-hosted AI gateway and customer-intelligence platform."""


def main() -> None:
    """Run the command; whatever goes wrong is one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    # Taken wherever it stands, as people add it at the end of the line that failed.
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)
    except BrokenPipeError:
        # The reader has left (`looma … | head`). Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exit_codes.FAILED)
    except LoomaError as error:
        _tell(error.message, debug)
        for detail in error.details:
            told = detail.problem in error.message or repr(detail.field) in error.message
            if not told:
                sys.stderr.write(f"  {detail.field}: {detail.problem}; {detail.fix}\n")
        sys.exit(_code(error))
    except Exception as error:
        if debug:
            raise
        _tell(f"something broke ({type(error).__name__}: {error}). --debug shows where.", debug)
        sys.exit(exit_codes.FAILED)


def _tell(message: str, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"looma: {message}\n")


def _code(error: LoomaError) -> int:
    from looma_cli.supervision.run_state import AlreadyUp

    if isinstance(error, AlreadyUp):
        return exit_codes.ALREADY_UP
    return exit_codes.USAGE if isinstance(error, ConfigError) else exit_codes.FAILED


if __name__ == "__main__":
    main()
