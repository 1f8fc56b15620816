"""What rows of Arrow take in bytes once their texts are written out, told before they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Sizes = np.ndarray[Any, np.dtype[np.int64]]

_CELL_BYTES: Final = 8  # what a cell takes that holds nothing


def row_sizes(batch: Any) -> Sizes:
    """What each row takes once its texts are written out, in bytes."""
    sizes = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        sizes += _cell_sizes(column)
    return sizes


def _cell_sizes(column: Any) -> Sizes:
    kind = column.type
    if pa.types.is_dictionary(kind):
        # One length more, of what isn't there.
        lengths = np.append(_cell_sizes(column.dictionary), _CELL_BYTES)
        named = pc.fill_null(column.indices.cast(pa.int64()), len(lengths) - 1).to_numpy(
            zero_copy_only=False
        )
        sizes: Sizes = lengths[named]
        return sizes
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends = np.concatenate([[0], np.cumsum(_cell_sizes(column.flatten()))])
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        until = np.cumsum(counts)
        lists: Sizes = _CELL_BYTES + ends[until] - ends[until - counts]
        return lists
    if pa.types.is_struct(kind):
        parts = [_cell_sizes(part) for part in column.flatten()]
        return sum(parts, np.full(len(column), _CELL_BYTES))
    if _is_text(kind):
        lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        texts: Sizes = lengths.astype(np.int64) + _CELL_BYTES
        return texts
    return np.full(len(column), _CELL_BYTES, np.int64)


def _is_text(kind: Any) -> bool:
    return any(
        check(kind)
        for check in (
            pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )  # fmt: skip
