"""Texts in encodings that nobody names."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest

from ai_services.enrichment.reading.content.encoding import MOST_LOOKED_AT
from ai_services.enrichment.reading.file_format import FileRefused
from tests.ai_services.enrichment.calls_files import Folder, as_csv, as_jsonl, call, rows

HAN = "太贵了，我要投诉你们，再也不买了"
TRADITIONAL = "太貴了，我要投訴你們，請轉接主管處理這個問題"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def said(text: str, **changes: Any) -> dict[str, Any]:
    return call(turns=[{"role": "customer", "at_ms": 0, "text": text}], **changes)


@pytest.mark.parametrize("make", [as_csv, as_jsonl])
@pytest.mark.parametrize(
    ("encoding", "mark", "text", "told"),
    [
        ("utf-8", b"", HAN, ""),
        ("utf-8", codecs.BOM_UTF8, HAN, ""),
        ("utf-16-le", codecs.BOM_UTF16_LE, HAN, "UTF-16-LE"),
        ("utf-16-be", codecs.BOM_UTF16_BE, HAN + "𠮷", "UTF-16-BE"),
        ("utf-16-le", b"", HAN, "UTF-16-LE"),
        ("utf-16-be", b"", HAN, "UTF-16-BE"),
        ("utf-32-le", codecs.BOM_UTF32_LE, HAN, "UTF-32-LE"),
        ("gbk", b"", HAN, "GB18030"),
        ("gb18030", b"", HAN + "㐂𠮷€", "GB18030"),
        ("cp950", b"", TRADITIONAL, "Big5"),
    ],
)
def test_the_encoding_is_found_and_told(
    folder: Folder, make: Any, encoding: str, mark: bytes, text: str, told: str
) -> None:
    data = mark + make([said(text)]).decode().encode(encoding)
    batch = folder.read("calls.csv" if make is as_csv else "calls.jsonl", data)
    assert text in batch.frame["turns"][0]
    assert batch.rejects == []
    assert [told in note for note in batch.warnings] == ([True] if told else [])


def test_an_ascii_header_over_a_chinese_body(folder: Folder) -> None:
    data = as_csv([call(), call(callid="c-2", user_id="张三")]).decode().encode("gbk")
    batch = folder.read("calls.csv", data)
    assert batch.frame["user_id"].to_list() == ["u-1", "张三"]


def test_a_name_that_comes_late_decides_as_well(folder: Folder) -> None:
    plain = [call(callid=f"c-{at}", user_id=f"user {'x' * 40}") for at in range(20_000)]
    data = as_csv([*plain, call(callid="last", user_id="王芳")]).decode().encode("gbk")
    assert (1 << 20) < len(data) < MOST_LOOKED_AT
    batches = folder.batches("calls.csv", data)
    assert batches[-1].frame["user_id"][-1] == "王芳"
    assert not any(batch.rejects for batch in batches)


def test_what_comes_later_than_anybody_looks_is_told_row_by_row(folder: Folder) -> None:
    filler = as_csv([call(user_id="x" * 60)]).split(b"\n")[1] + b"\n"
    head = as_csv([call()])
    late = as_csv([call(callid="late", user_id="王芳")]).split(b"\n")[1].decode().encode("gbk")
    data = head + filler * (MOST_LOOKED_AT // len(filler) + 2) + late + b"\n"
    (reject,) = [one for batch in folder.batches("calls.csv", data) for one in batch.rejects]
    assert "is not utf-8: byte 0xCD" in reject.problem
    assert "--encoding gbk" in reject.fix


def test_gbk_is_read_as_the_larger_encoding_that_it_is_part_of(folder: Folder) -> None:
    data = as_csv([call(user_id="王㐂𠮷")]).decode().encode("gb18030")
    for name in ("gbk", "gb2312", "cp936", "gb18030"):
        batch = folder.read("calls.csv", data, encoding=name)
        assert batch.frame["user_id"].to_list() == ["王㐂𠮷"]


def test_no_row_is_told_to_try_the_encoding_that_was_tried(folder: Folder) -> None:
    data = as_csv([call(user_id="王芳"), call(callid="c-2")]).decode().encode("gbk")
    data = data.replace(b"c-2", b"c-\xff")
    batch = folder.read("calls.csv", data, encoding="gbk")
    (reject,) = batch.rejects
    assert batch.frame.height == 1
    assert "gbk" not in reject.fix
    assert "gb18030" not in reject.fix


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("José Müller", "cp1252"),
        ("Łukasz Żółć", "cp1250"),
        ("Иван Петров", "cp1251"),
        ("ИВАНОВ ПЁТР СЕРГЕЕВИЧ", "cp1251"),
        ("ÀÉÈÊ ÑÓ", "cp1252"),
        ("田中さくら、よろしくお願いします", "shift_jis"),
        ("ありがとうございます、田中さん", "euc_jp"),
        ("감사합니다 다시 전화 주세요 고객님 안녕하세요 상담원입니다", "euc_kr"),
    ],
)
def test_other_encodings_are_refused_until_somebody_names_them(
    folder: Folder, text: str, encoding: str
) -> None:
    data = as_csv([call(), call(user_id=text[:30], callid="c-2")]).decode().encode(encoding)
    with pytest.raises(FileRefused) as refused:
        folder.read("calls.csv", data)
    assert "of line 3), and no other encoding is certain" in refused.value.message
    assert "--encoding" in refused.value.message
    named = folder.read("calls.csv", data, encoding=encoding)
    assert [row["user_id"] for row in rows(named)] == ["u-1", text[:30].strip()]


def test_a_damaged_row_among_good_ones_is_the_only_one_that_is_lost(folder: Folder) -> None:
    calls = [call(callid=f"c-{at}", user_id="李娜") for at in range(200)]
    data = as_csv(calls).decode().encode("gbk").replace(b"c-7,", b"c-7\xff,")
    batch = folder.read("calls.csv", data)
    assert batch.frame.height == 199
    assert [reject.line for reject in batch.rejects] == [9]


def test_half_a_character_costs_its_row_alone_in_utf_16(folder: Folder) -> None:
    lines = as_csv([call(), call(callid="c-2"), call(callid="c-3")]).decode().split("\n")
    broken = lines[2].encode("utf-16-le").replace("u-1".encode("utf-16-le"), b"\x00\xd8u\x00")
    data = b"\n\0".join(
        broken if at == 2 else line.encode("utf-16-le") for at, line in enumerate(lines)
    )
    batch = folder.read("calls.csv", codecs.BOM_UTF16_LE + data)
    assert batch.frame["callid"].to_list() == ["c-1", "c-3"]
    assert [reject.line for reject in batch.rejects] == [3]


def test_a_byte_order_mark_knows_better_than_a_name(folder: Folder) -> None:
    data = codecs.BOM_UTF16_LE + as_csv([call(user_id="张三")]).decode().encode("utf-16-le")
    batch = folder.read("calls.csv", data, encoding="utf-8")
    assert batch.frame["user_id"].to_list() == ["张三"]
    assert "byte order mark" in batch.warnings[0]
