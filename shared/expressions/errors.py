"""What is wrong with an expression, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import Detail, InvalidInput


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault; `line` and `column` count characters from 1."""

    line: int
    column: int
    problem: str
    hint: str


class ExpressionInvalid(InvalidInput):
    """An expression that is refused; `findings` are in the order of the text."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        details = [
            Detail("expression", f"line {one.line}, column {one.column}: {one.problem}", one.hint)
            for one in findings
        ]
        first = details[0]
        super().__init__(f"expression: {first.problem}; {first.fix}.", details=details)
