"""What is told of the calls of an import. Its batches count them: a note is made once, of all of it."""

from __future__ import annotations


def notes_of_calls(stayed_out: int, spread: int, not_kept: int = 0) -> list[str]:
    """Of calls that were erased before, of those whose legs are hardly one call's, and of rejected rows
    that name what was erased; nothing of none.
    """
    notes = []
    if stayed_out:
        notes.append(f"{stayed_out} calls stayed out: they, or their customers, were erased.")
    if spread:
        notes.append(
            f"{spread} calls have legs more than a day apart: does every call have a group_by of its own?"
        )
    if not_kept:
        notes.append(f"{not_kept} rejected rows are not kept: they name what was erased.")
    return notes
