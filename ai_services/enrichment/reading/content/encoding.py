"""Find the encoding of a text by its bytes, where nobody says it.

A byte order mark decides, then zero bytes (UTF-16), then whether the bytes are UTF-8, then whether
they are text in GB18030 or in Big5 that somebody may have written. In doubt the file is refused:
read in a wrong encoding, names would be stored that nobody has.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.refusal import FileRefused, refuse
from shared.errors import Detail

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Supersets: what their users call by the smaller name is often written in the larger one.
_SUPERSETS: Final = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "cp950",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-16-le",
    "utf-32": "utf-32-le",
}
MOST_LOOKED_AT: Final = 16 << 20
_ENOUGH: Final = 1 << 20  # after the first byte that is not ASCII
_JUDGED: Final = 1 << 18
_MOST_DAMAGED: Final = 0.01  # of the lines that are not ASCII
_USUAL: Final = 0.7
_LEVEL_ONE: Final = range(0xB0, 0xD8)  # of GB 2312: the 3,755 characters in common use, by sound
_LATE: Final = range(0xC9, 0xD8)  # of them; Korean in EUC-KR has none there
# Of language, of names and of exports of calls: a fifth of any Chinese text, hardly any of another
# text that is taken for one.
_COMMON: Final = frozenset(
    "的一是不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"
    "小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长"
    "您请问吗吧呢喂嗯谢再见接通话呼叫号码客户坐席员工时间始结束状态果类型意向等级挂断备注录音费用钱贵电"
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛"
    "叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔"
    "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂红玉建华文斌辉婷玲云海燕波宁鹏飞梅琳雪晓佳欣宇浩"
    "部组市省区县东南西北京沪广深州山河四五六七八九二百千万元分秒月早晚男女名称姓机器已未失败功忙拒关空"
)
_BIG5_USUAL: Final = range(0xA4, 0xC7)
_BIG5_ONLY: Final = range(0x40, 0x7F)  # trail bytes that neither GB 2312 nor EUC has
_NO_TEXT: Final = b"\xff"  # in no encoding of many letters
_FEW: Final = 20
_MOSTLY: Final = 0.9
_OFTEN: Final = 0.2
# ASCII, and punctuation that stands in texts of many languages.
_MARKS_OF_TEXT: Final = re.compile(
    r"[\x00-\x7f\u00b7\u2000-\u206f\u3000-\u303f\uff00-\uff65\uffe0-\uffee]+"
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """`name` is Python's. `told` is a note for whoever sent the file; "" where nothing is unusual."""

    name: str
    told: str = ""


def find_encoding(path: CallFile, chunks: Iterator[bytes]) -> Encoding:
    """The encoding of the text that `chunks` are the beginning of; FileRefused in doubt."""
    head = next(chunks, b"")
    if name := _by_mark(head):
        return Encoding(name, "" if name == "utf-8" else f"The file is read as {name.upper()}.")
    if name := _by_zeros(head):
        return Encoding(name, f"The file is read as {name.upper()}, as its bytes say.")
    if head.count(0) * 10 > len(head):  # a single one spoils only its row
        raise refuse(path, "is not a text file", "save it as CSV, JSON, Parquet or a workbook")
    sample, whole = _sample(head, chunks)
    if not whole:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    if sample.isascii() or _decodes(sample, "utf-8", whole=whole):
        return Encoding("utf-8")
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    damaged = [line for line in lines if _NO_TEXT in line]
    if sum(_decodes(line, "utf-8", whole=True) for line in lines) * 2 >= len(lines) - len(damaged):
        return Encoding("utf-8")  # the others are told one by one
    for name in ("gb18030", "cp950"):
        if _is_written_in(lines, name):
            shown = "GB18030" if name == "gb18030" else "Big5"
            return Encoding(
                name, f"The file is not UTF-8; it is read as {shown}, as its bytes say."
            )
    raise _unknown(path, sample)


def named_encoding(name: str, chunks: Iterator[bytes]) -> Encoding:
    """The encoding that somebody names; a byte order mark knows better."""
    found = _by_mark(next(chunks, b""))
    if found and found != name and (found != "utf-8" or name.startswith("utf-")):
        return Encoding(found, f"The file is read as {found.upper()}, as its byte order mark says.")
    return Encoding(name)


def check_encoding(encoding: str) -> str:
    """The codec to read it with; FileRefused for what is none of texts."""
    if not is_encoding(encoding):
        problem = f"{encoding!r} is no encoding of text"
        fix = "use utf-8, utf-16, gb18030, big5, shift_jis, latin-1 or cp1252, or leave it out"
        raise FileRefused(
            f"encoding {encoding!r} can't be read.", details=[Detail("encoding", problem, fix)]
        )
    name = codecs.lookup(encoding).name
    return _SUPERSETS.get(name, name)


def is_encoding(encoding: str) -> bool:
    """Whether it is one whose ASCII bytes are ASCII, or of Unicode in units of two or four bytes."""
    try:
        name = codecs.lookup(encoding).name
        b"\xff".decode(name, errors="replace")
        return is_wide(name) or '\n\r",;\t{}'.encode(name) == b'\n\r",;\t{}'
    except (LookupError, ValueError):  # also a name that can't be one
        return False


def is_wide(encoding: str) -> bool:
    """Whether a line end is more than one byte, so that lines can't be cut before it is decoded."""
    return encoding.startswith(("utf-16", "utf-32"))


def _by_mark(head: bytes) -> str:
    return next((name for mark, name in _MARKS if head.startswith(mark)), "")


def _by_zeros(head: bytes) -> str:
    """UTF-16 without a mark: the upper halves of ASCII characters are zero, in every second byte."""
    head = head[: len(head) // 2 * 2]
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) * 20 < len(head) or min(first, second) * 20 > max(first, second):
        return ""
    name = "utf-16-be" if first > second else "utf-16-le"
    text = head.decode(name, errors="replace")
    return name if "\ufffd" not in text[:-1] and "\0" not in text else ""


def _sample(head: bytes, chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """The file's beginning, until it has told enough, and whether that is all of it."""
    parts = [head]
    size = len(head)
    telling = 0 if head.isascii() else len(head)
    while size < MOST_LOOKED_AT and telling < _ENOUGH:
        chunk = next(chunks, b"")
        if not chunk:
            return b"".join(parts), True
        parts.append(chunk)
        size += len(chunk)
        if telling or not chunk.isascii():
            telling += len(chunk)
    return b"".join(parts), False


def _decodes(data: bytes, encoding: str, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _is_written_in(lines: list[bytes], encoding: str) -> bool:
    good = [line for line in lines if _decodes(line, encoding, whole=True)]
    if len(lines) - len(good) > len(lines) * _MOST_DAMAGED:
        return False
    text = b"\n".join(good)[:_JUDGED].decode(encoding, errors="ignore")
    letters = _MARKS_OF_TEXT.sub("", text)
    return _is_chinese(letters) if encoding == "gb18030" else _is_big5(letters)


def _is_chinese(letters: str) -> bool:
    """Whether most of the characters are among the usual ones of GB 2312."""
    leads = letters.encode("gb2312", errors="ignore")[::2]
    usual = sum(lead in _LEVEL_ONE for lead in leads)
    common = sum(letter in _COMMON for letter in letters)
    korean = len(set(letters)) >= _FEW and not any(lead in _LATE for lead in leads)
    plausible = usual >= _USUAL * len(letters) and common >= _OFTEN * len(letters)
    return bool(letters) and plausible and not korean


def _is_big5(letters: str) -> bool:
    """Whether nearly all are usual ones of Big5, by bytes that other encodings hardly have."""
    pairs = letters.encode("cp950", errors="ignore")
    usual = sum(lead in _BIG5_USUAL for lead in pairs[::2])
    own = sum(trail in _BIG5_ONLY for trail in pairs[1::2])
    enough = len(letters) >= _FEW // 4
    return enough and usual >= _MOSTLY * len(letters) and own * 5 >= len(letters)


def _unknown(path: CallFile, sample: bytes) -> FileRefused:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        at = error.start
    else:
        raise AssertionError("the sample is UTF-8")
    line = sample.count(b"\n", 0, at) + 1
    byte = at - sample.rfind(b"\n", 0, at)
    return refuse(
        path,
        f"is not UTF-8 (byte 0x{sample[at]:02X} at position {byte} of line {line}), "
        "and no other encoding is certain",
        "pass its encoding (--encoding gb18030, big5, shift_jis, cp1252, …, or encoding in the "
        "column map), or re-save the file as UTF-8",
        "encoding",
    )
