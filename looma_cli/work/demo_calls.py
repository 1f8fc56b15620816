"""Writing generated calls to a file, with a bar."""

from __future__ import annotations

from pathlib import Path

from looma_cli.terminal.console import bar
from looma_cli.work.demo.generate import generate_calls
from shared.errors import LoomaError


def write_calls(path: Path, calls: int, seed: int, bad_rows: float = 0.0) -> None:
    """`calls` rows of JSON Lines; complete or not there at all."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file, bar(f"Generating {path.name}", calls, "calls") as progress:
            for block in generate_calls(calls, seed, bad_rows=bad_rows):
                file.write(block)
                progress.advance(block.count(b"\n"))
        fresh.replace(path)
    except OSError as error:
        raise LoomaError(
            f"{path} can't be written: {error.strerror}. Choose another place with --out."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
