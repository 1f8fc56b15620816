"""`looma import`: a file of calls into an organisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org

_LIKELY_ZONE = "Asia/Shanghai"  # an organisation's, unless it has another

if TYPE_CHECKING:
    from looma_cli.work.import_calls import BroughtIn, Source
    from shared.config import Config


def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, JSON (.gz too), Parquet, .xlsx, .xls or .ods.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="calls, autodialer, asterisk, freepbx, fusionpbx, 3cx, vicidial, twilio, five9, genesys, aliyun, "
            "tencent, star, bank_marketing, or the path of a column map (.toml)."
        ),
    ] = "calls",
    columns: Annotated[
        Path | None, typer.Option("--columns", help="A column map (.toml), in a preset's place.")
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Import nothing: print a column map for the file.")
    ] = False,
    timezone: Annotated[
        str | None,
        typer.Option(help="Of times without an offset, e.g. Europe/Berlin, whatever the map says."),
    ] = None,
    org: Org = None,
    analyze: Annotated[
        bool, typer.Option("--analyze/--no-analyze", help="Analyse the transcripts, too.")
    ] = True,
    strict_columns: Annotated[
        bool, typer.Option("--strict-columns", help="Refuse a file with unknown columns.")
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(help="Of a text file, e.g. gb18030; found by its bytes unless given."),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Of a workbook; the first whose header fits unless given.")
    ] = None,
    fail_on_rejects: Annotated[
        bool, typer.Option("--fail-on-rejects", help="Exit 4 if a row was rejected.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only read it: count its rows, show what is wrong."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring calls in. Importing a file again changes nothing but what is missing or different.

    A row that is wrong stays out: FILE.rejected.jsonl says why, and what would be right. What a call
    may lack is left empty where it can't be read: FILE.notes.jsonl says where. Exits 4
    if the file ends too soon, 1 if none of it can be read or every row is rejected.
    """
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json
    from looma_cli.work.import_calls import Source, show_warnings

    if suggest:
        raise typer.Exit(_suggest(file, timezone, as_json=as_json))
    chosen = preset if columns is None else str(columns)
    source = Source(file, chosen, strict_columns, encoding, sheet, timezone=timezone)
    if dry_run:
        _try_out(source, as_json=as_json, fail_on_rejects=fail_on_rejects)
        return
    brought, analysed = run(lambda config: _import(config, source, org, analyze))
    show_warnings(brought)
    if as_json:
        write_json(_document(brought, analysed))
    else:
        _show(brought, analysed)
    raise typer.Exit(_exit_code(brought, fail_on_rejects=fail_on_rejects))


def _suggest(file: Path, timezone: str | None, *, as_json: bool) -> int:
    from looma_cli.terminal.console import write_json
    from looma_cli.work.suggest_map import document, suggested, tell

    found = suggested(file, timezone or _LIKELY_ZONE)
    if as_json:
        write_json(document(found))
    else:
        typer.echo(found.column_map, nl=False)
        tell(found, file)
    usable = not (found.missing or found.tried.problem) and found.tried.share > 0
    return exit_codes.OK if usable or found.preset else exit_codes.PARTLY


def _exit_code(brought: BroughtIn, *, fail_on_rejects: bool) -> int:
    counts = brought.counts
    return _code_of(counts.rows, counts.rejected, brought.cut, fail_on_rejects)


def _code_of(rows: int, rejected: int, cut: bool, fail_on_rejects: bool) -> int:
    if rejected and rejected == rows:
        return exit_codes.FAILED
    return exit_codes.PARTLY if cut or (fail_on_rejects and rejected) else exit_codes.OK


def _try_out(source: Source, *, as_json: bool, fail_on_rejects: bool) -> None:
    from looma_cli.runner import settings
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table
    from looma_cli.work.import_calls import show_noted, try_out

    found = try_out(settings(), source)
    for warning in found.warnings:
        say(f"Note: {warning}")
    show_noted(found.noted)
    if as_json:
        write_json(found.to_result())
    else:
        rows: list[tuple[str, object, str]] = [
            ("rows", found.rows, "nothing was stored"),
            ("good", found.good, "would come in, or are there already"),
            ("duplicates", found.duplicates, "a later row had the same callid"),
            ("rejected", found.rejected, ""),
        ]
        results().print(table(("", "#count", ""), rows))
        if found.rejects:
            columns = ("#line", "field", "value", "problem", "fix")
            shown = [(r.line, r.field, r.value, r.problem, r.fix) for r in found.rejects]
            results().print(table(columns, shown))
    if found.cut:
        say("The file ends too soon or is damaged.")
    raise typer.Exit(_code_of(found.rows, found.rejected, found.cut, fail_on_rejects))


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
        "noted": dict(counts.noted),
        "cut": brought.cut,
        "rejected_file": str(brought.rejected_file) if brought.rejected_file else None,
        "notes_file": str(brought.notes_file) if brought.notes_file else None,
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
        (
            "duplicates",
            counts.duplicates,
            "a later row had the same callid, or is of the same call",
        ),
        ("rejected", counts.rejected, ""),
        ("analysed", analysed, "transcripts"),
    ]
    results().print(table(("", "#count", ""), rows))
