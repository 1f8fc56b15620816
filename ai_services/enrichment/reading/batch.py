"""Batches of validated calls, and the rows of them that were not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import polars as pl

from ai_services.enrichment.legs.rows import is_of_legs
from ai_services.enrichment.reading.cells import Cells
from ai_services.enrichment.reading.piece import Piece
from ai_services.enrichment.reading.same_calls import SameCalls
from ai_services.enrichment.validation.note import Note, make_notes
from ai_services.enrichment.validation.reject import Problem, Reject, make_reject
from ai_services.enrichment.validation.validate import Checked
from shared.phones import mask_phones

_MAX_TOLD: Final = 10_000  # rejects and notes; a batch ends early rather than hold more


@dataclass(frozen=True, slots=True)
class Batch:
    """Records ready to be stored, and what was not taken.

    frame: columns and types of FRAME_SCHEMA, in file order, callid unique; of LEG_SCHEMA, each row
        a leg, where the preset groups rows.
    rejects: in file order; one per row, naming its first problem.
    replaced: line → callid of the rows left out because a later row of this batch has the same.
    bytes_read: of the file as it is on disk, from its start (for a progress bar).
    warnings: about the file as a whole; each is told once, in the batch where it arose.
    notes: in file order; what was left out of rows that are in `frame`, or replaced.
    cut: the file ended too soon or was damaged; set on the last batch, whose
        last reject says at which line.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    replaced: Mapping[int, str]
    bytes_read: int
    warnings: list[str] = field(default_factory=list)
    cut: bool = False
    notes: list[Note] = field(default_factory=list)

    @property
    def noted(self) -> Mapping[str, int]:
        """How many notes there are of each field."""
        return Counter(note.field for note in self.notes)

    @property
    def of_legs(self) -> bool:
        """Whether its rows are legs: several may be one call's, and `frame` is by LEG_SCHEMA."""
        return is_of_legs(self.frame)

    @property
    def calls(self) -> int:
        """How many calls its good rows are."""
        return self.frame["callid"].n_unique() if self.of_legs else self.frame.height

    @property
    def duplicates(self) -> int:
        """Rows that a later one replaced, or that are further legs of a call."""
        return len(self.replaced) + self.frame.height - self.calls

    @property
    def last_line(self) -> int:
        """Every row up to this line is in this batch or one before it; 0 if it has no row."""
        lines = [self.frame["line"][-1]] if self.frame.height else []
        return max([*lines, *(reject.line for reject in self.rejects[-1:])], default=0)

    def after(self, line: int) -> Self:
        """What of it lies behind that line."""
        return replace(
            self,
            frame=self.frame.filter(pl.col("line") > line),
            rejects=[reject for reject in self.rejects if reject.line > line],
            replaced={at: callid for at, callid in self.replaced.items() if at > line},
            notes=[note for note in self.notes if note.line > line],
        )


class Batcher:
    """Gathers checked rows until a batch is full."""

    def __init__(self, max_rows: int, max_bytes: int, schema: Mapping[str, pl.DataType]) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._frame = pl.DataFrame(schema=schema)
        self._rejects: list[Reject] = []
        self._notes: list[Note] = []
        self._same_calls = SameCalls()
        self._warnings: list[str] = []
        self._told: set[str] = set()
        self._size = 0
        self._bytes_read = 0
        self._cut = False

    def add(
        self, piece: Piece, parts: Sequence[tuple[Cells, Checked]], warnings: Sequence[str]
    ) -> None:
        rejects = [make_reject(line, wrong, piece.raw(line)) for line, wrong in piece.problems]
        frames = [self._frame]
        remarks: list[tuple[int, Problem]] = []
        for cells, checked in parts:
            refused = {one.line for one in checked.failures}
            remarks += [one for one in cells.remarks if one[0] not in refused]
            remarks += checked.remarks
            rejects += [
                make_reject(one.line, one.problem, piece.raw(one.line), one.phone, one.callid)
                for one in (*cells.failures, *checked.failures)
            ]
            frames.append(checked.frame)
            self.warn(checked.warnings)
        self._frame = pl.concat(frames)
        if len(parts) > 1:
            self._frame = self._frame.sort("line")
        self._rejects += sorted(rejects, key=lambda reject: reject.line)
        self._notes += make_notes(sorted(remarks, key=lambda remark: remark[0]))
        self.warn(warnings)
        self._size += piece.size
        self._bytes_read = piece.bytes_read
        self._cut = self._cut or piece.cut

    def full(self) -> Iterator[Batch]:
        """Batches that are complete; what remains waits for more."""
        while self._frame.height > self._max_rows:
            yield self._take(self._max_rows)
        if self._size >= self._max_bytes or len(self._rejects) + len(self._notes) >= _MAX_TOLD:
            yield self._take(self._frame.height)

    def rest(self) -> Batch:
        """What is left at the end of the file."""
        return self._take(self._frame.height)

    def warn(self, warnings: Sequence[str]) -> None:
        """Each once. Names of columns, sheets and files are masked: they may hold numbers."""
        fresh = [text for text in dict.fromkeys(warnings) if text not in self._told]
        self._warnings += map(mask_phones, fresh)
        self._told.update(fresh)

    def _take(self, rows: int) -> Batch:
        taken, self._frame = self._frame.head(rows), self._frame.slice(rows)
        rejects, notes = self._rejects, self._notes
        if self._frame.height:
            last = taken["line"][-1]
            rejects = [reject for reject in rejects if reject.line <= last]
            notes = [note for note in notes if note.line <= last]
        self._rejects, self._notes = self._rejects[len(rejects) :], self._notes[len(notes) :]
        frame = taken
        replaced: Mapping[int, str] = {}
        if not is_of_legs(taken):
            frame, replaced, contradicted = self._same_calls.last_of_each(taken)
            if contradicted:
                notes = sorted([*notes, *make_notes(contradicted)], key=lambda note: note.line)
        batch = Batch(
            frame=frame,
            rejects=rejects,
            replaced=replaced,
            bytes_read=self._bytes_read,
            warnings=self._warnings,
            cut=self._cut and not self._frame.height,
            notes=notes,
        )
        self._warnings = []
        self._size = 0
        return batch
