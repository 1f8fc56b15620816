"""What bounds an expression, so that checking and evaluating one is cheap whoever wrote it."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 2048
MAX_DEPTH: Final = 20  # of brackets and of operators within operators
MAX_TEXT_CHARS: Final = 200  # of a text literal
MAX_LISTED: Final = 100  # values of a list
MAX_ARGUMENTS: Final = 20  # of min and max
MAX_DIGITS: Final = 6  # that round keeps
MAX_FINDINGS: Final = 10  # faults that are told of at once

INT_LOW: Final = -(2**63)
INT_HIGH: Final = 2**63 - 1
FLOAT_HIGH: Final = 1e100  # beyond it is null
FLOAT_TINY: Final = 1e-100  # nearer to zero is 0
