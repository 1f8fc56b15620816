"""`looma import`: a file of calls into an organisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from looma_cli.work.import_calls import BroughtIn, Source
    from shared.config import Config


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines (.gz too) or Parquet.")],
    preset: Annotated[
        str, typer.Option(help="calls, star, bank_marketing, or the path of a column map (.toml).")
    ] = "calls",
    org: Org = None,
    analyze: Annotated[
        bool, typer.Option("--analyze/--no-analyze", help="Analyse the transcripts, too.")
    ] = True,
    strict_columns: Annotated[
        bool, typer.Option("--strict-columns", help="Refuse a file with unknown columns.")
    ] = False,
    encoding: Annotated[str, typer.Option(help="Of a text file, e.g. gb18030.")] = "utf-8",
    fail_on_rejects: Annotated[
        bool, typer.Option("--fail-on-rejects", help="Exit 4 if a row was rejected.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring calls in. Importing a file again changes nothing but what is missing or different.

    A row that is wrong stays out: FILE.rejected.jsonl says why, and what would be right. Exits 4
    if the file ends too soon, 1 if none of it can be read or every row is rejected.
    """
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json
    from looma_cli.work.import_calls import Source, show_warnings

    source = Source(file, preset, strict_columns, encoding)
    brought, analysed = run(lambda config: _import(config, source, org, analyze))
    show_warnings(brought)
    if as_json:
        write_json(_document(brought, analysed))
    else:
        _show(brought, analysed)
    raise typer.Exit(_exit_code(brought, fail_on_rejects=fail_on_rejects))


def _exit_code(brought: BroughtIn, *, fail_on_rejects: bool) -> int:
    rejected = brought.counts.rejected
    if rejected and rejected == brought.counts.rows:
        return exit_codes.FAILED
    partly = brought.cut or (fail_on_rejects and rejected)
    return exit_codes.PARTLY if partly else exit_codes.OK


async def _import(
    config: Config, source: Source, org: str | None, analyze: bool
) -> tuple[BroughtIn, int]:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve_or_first
    from looma_cli.work.analyse import analyse
    from looma_cli.work.import_calls import bring_in

    async with opened(config, {"relational", "cache"}) as data:
        organisation = await resolve_or_first(config, data, org)
        brought = await bring_in(config, data.relational, organisation.org_id, source)
        analysed = 0
        if analyze:
            analysed = await analyse(config, data.relational, organisation.org_id)
    return brought, analysed


def _document(brought: BroughtIn, analysed: int) -> dict[str, Any]:
    counts = brought.counts
    return {
        "import_id": str(counts.import_id),
        "rows": counts.rows,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "duplicates": counts.duplicates,
        "rejected": counts.rejected,
        "cut": brought.cut,
        "rejected_file": str(brought.rejected_file) if brought.rejected_file else None,
        "warnings": brought.warnings,
        "analysed": analysed,
        "seconds": round(brought.seconds, 3),
    }


def _show(brought: BroughtIn, analysed: int) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import table

    counts = brought.counts
    rate = f"{brought.seconds:.1f} s, {counts.rows / max(brought.seconds, 1e-9):,.0f} rows/s"
    rows: list[tuple[str, object, str]] = [
        ("rows", counts.rows, rate),
        ("new", counts.inserted, ""),
        ("updated", counts.updated, "were there with other values"),
        ("unchanged", counts.unchanged, "were there already"),
        ("duplicates", counts.duplicates, "a later row had the same callid"),
        ("rejected", counts.rejected, ""),
        ("analysed", analysed, "transcripts"),
    ]
    results().print(table(("", "#count", ""), rows))
