"""The error for a file that can't be read at all."""

from __future__ import annotations

from ai_services.enrichment.reading.call_file import CallFile
from shared.errors import Detail, InvalidInput


class FileRefused(InvalidInput):
    """No row of the file can be read: it is not what it should be, or lacks a column."""


def refuse(path: CallFile, problem: str, fix: str, field: str = "file") -> FileRefused:
    """It names the file, what is wrong with it and what would be right."""
    return FileRefused(f"{path.name} {problem}: {fix}.", details=[Detail(field, problem, fix)])
