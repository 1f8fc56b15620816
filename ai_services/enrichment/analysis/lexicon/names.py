"""Words of praise that are only somebody's name: Pleasant Grove, 美好科技."""

from __future__ import annotations

import re
from typing import Final

from ai_services.enrichment.analysis.lexicon.load import Term

_CHINESE_BODY: Final = re.compile(
    "(?:科技|集团|有限|公司|股份|实业|路|街|巷|大道|小区|花园|大厦|广场|家园|小学|中学|大学|幼儿园|医院|银行|"
    "酒店|宾馆|饭店|超市|药房|药店|村|镇|乡|苑|山庄|物业|传媒|文化|贸易|电子|保险|证券|汽修|律所|律师|工作室|"
    "公寓|家政|网吧|影城|商场|百货|便利店|先生|女士|小姐|老师|号楼|牌)"
)
_CHINESE_NAMING: Final = re.compile(
    "(?:(?<![都也就能才])叫(?!人|我|你|他|她|好)|名叫|姓|名字是|昵称是|店名是|品牌是|住在?|地址在?是?)[^,，。!！?？\n]{0,3}$"
)
_ENGLISH_BODY: Final = re.compile(
    r"\s(?:Grove|Valley|Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Court|Hills?|Park|Lake|Beach|City|"
    r"Town|Village|Springs?|Bank|Hotel|Inn|School|House|Cent(?:er|re)|Ltd|Inc|Corp|Co|Company|"
    r"Garden|Gardens|Plaza|Cafe|Foods?|Motors|Insurance|Pharmacy|Smith|Jones|Buy)\b"
)
_ENGLISH_NAMING: Final = re.compile(
    r"(?:\bnamed|\bcalled|\bname(?:'s| is)|\bsurname(?: is)?|\bMrs?\.?|\bMs\.?|\bDr\.?|\blive (?:in|on|at)|\bfrom|\bin)\s$"
)


def is_name(cased: str, start: int, end: int, term: Term) -> bool:
    """Whether the praise at `cased[start:end]` names a place, a firm or a person."""
    if term.language == "zh":
        if end - start < 2:
            return False
        if _CHINESE_BODY.match(cased, end):
            return True
        return _CHINESE_NAMING.search(cased, max(0, start - 8), start) is not None
    if term.language != "en" or not cased[start].isupper() or not cased[start + 1 : end].islower():
        return False
    if _ENGLISH_BODY.match(cased, end):
        return True
    return _ENGLISH_NAMING.search(cased, max(0, start - 14), start) is not None
