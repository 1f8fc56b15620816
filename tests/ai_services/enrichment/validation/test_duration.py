from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.validation.duration import read_duration

lengths = st.integers(0, 86_400_000)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0:01:05", 65_000), ("1:05", 65_000), ("00:01:05.1234567", 65_123), ("01:00:05", 3_605_000),
        ("00:03:20", 200_000), ("90:00", 5_400_000), ("0:00:00", 0), ("１：０５", 65_000),
        ("3分20秒", 200_000), ("1小时3分", 3_780_000), ("1小时3分5秒", 3_785_000), ("200秒", 200_000),
        ("2分钟", 120_000), ("3分", 180_000), ("1个小时", 3_600_000), ("1分 5秒", 65_000),
        ("62s", 62_000), ("3m20s", 200_000), ("1h", 3_600_000), ("1h 3m", 3_780_000),
        ("1h03m05s", 3_785_000), ("3 min 20 sec", 200_000), ("20 seconds", 20_000), ("1 hour", 3_600_000),
        ("3'20\"", 200_000), ("500 ms", 500), ("500毫秒", 500), ("1.5 s", 1_500), ("1.5h", 5_400_000),
        ("PT3M20S", 200_000), ("PT1H", 3_600_000), ("PT65.5S", 65_500), ("pt1h3m", 3_780_000),
        ("P0DT1M", 60_000),
    ],
)  # fmt: skip
def test_what_says_its_unit_means_the_same_in_both(text: str, ms: int) -> None:
    assert read_duration(text, "ms") == read_duration(text, "s") == ms


@pytest.mark.parametrize(
    ("text", "ms", "s"),
    [
        ("65", 65, 65_000),
        ("65.0", 65, 65_000),
        ("65,000", 65_000, 65_000_000),
        ("65 000", 65_000, 65_000_000),
        ("65\u00a0000", 65_000, 65_000_000),
        ("65'000", 65_000, 65_000_000),
        ("1,234,567", 1_234_567, 1_234_567_000),
        ("6,500.0", 6_500, 6_500_000),
        ("'65", 65, 65_000),
        ("１２", 12, 12_000),
        ("12.5", None, 12_500),
        ("61,5", None, 61_500),
        ("-5", -5, -5_000),
    ],
)
def test_plain_numbers_count_in_the_unit_of_their_source(text: str, ms: int | None, s: int) -> None:
    assert (read_duration(text, "ms"), read_duration(text, "s")) == (ms, s)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1e3", "0:65", "1:60:00", "1:5", ":05", "-1:05", "P1D", "PT", "PT1S3M", "3秒2分", "s",
     "1,23,456", "1,2345", "9" * 1_000, " " * 100_000],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_what_is_no_duration_is_none(text: str) -> None:
    assert read_duration(text, "ms") is None
    assert read_duration(text, "s") is None


@given(lengths)
def test_every_length_comes_back_from_every_way_to_write_it(ms: int) -> None:
    seconds, rest = divmod(ms, 1_000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    for text in (
        f"{h}:{m:02}:{s:02}.{rest:03}",
        f"{h}h{m}m{s}.{rest:03}s",
        f"{h}小时{m}分{s}.{rest:03}秒",
        f"PT{h}H{m}M{s}.{rest:03}S",
        f"{seconds}.{rest:03}s",
        f"{ms} ms",
    ):
        assert read_duration(text, "ms") == ms
    assert read_duration(f"{ms:,}", "ms") == read_duration(f"{ms:,}".replace(",", " "), "ms") == ms
    assert read_duration(f"{seconds}.{rest:03}", "s") == ms


@given(st.text(max_size=40), st.sampled_from(["ms", "s"]))
def test_any_text_is_read(text: str, unit: str) -> None:
    found = read_duration(text, unit)
    assert found is None or isinstance(found, int)
