"""Durations in buckets, so that percentiles can be told of any days together.

Below 128 ms a bucket is one millisecond; above, an eighth to a sixteenth of a thousand: each doubling is cut into 64
buckets of equal width, as in an HDR histogram (http://hdrhistogram.org). The middle of a bucket is
within 1/128 (0.8 %) of every duration in it. Integers only: the same duration always falls in the same
bucket, in PostgreSQL and here.
"""

from __future__ import annotations

from typing import Final

ERROR: Final = 1 / 128  # relative, of a percentile

_EXACT: Final = 128  # below, a bucket for each
_OCTAVES: Final = [_EXACT << n for n in range(24)]  # 128, 256, … 2^30

# `e` is how many bits a duration of the bucket loses; numbers of buckets grow with durations.
BUCKET: Final = (
    "(width_bucket(duration_ms, '{" + ",".join(map(str, _OCTAVES)) + "}'::int[]) * 64"
    " + (duration_ms >> width_bucket(duration_ms, '{"
    + ",".join(map(str, _OCTAVES))
    + "}'::int[])))::smallint"
)


def middle_ms(bucket: int) -> float:
    """The duration that stands for all in this bucket, in milliseconds."""
    if bucket < _EXACT:
        return float(bucket)
    bits = bucket // 64 - 1
    return float(((bucket - 64 * bits) << bits) + ((1 << bits) - 1) / 2)
