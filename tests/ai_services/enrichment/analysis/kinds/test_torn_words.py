"""Words that blanks, line ends, hyphens or invisible characters have torn."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

CASES = [
    ("我 要 投 诉", "complaint high"),
    ("我 要 投 诉 你 们", "complaint high"),
    ("我要 投 诉", "complaint high"),
    ("我要投 诉你们", "complaint high"),
    ("不 满 意", "negative"),
    ("很 生 气", "negative"),
    ("非 常 失 望", "negative"),
    ("太 差 了", "negative"),
    ("非 常 满 意", "positive"),
    ("服 务 很 好", "positive"),
    ("取 消 合 约", "churn high"),
    ("我 要 销 户", "churn high"),
    ("我\u3000要\u3000投\u3000訴", "complaint high"),
    ("我要投\u200b诉", "complaint high"),
    ("我要投\u200c诉", "complaint high"),
    ("我要投\u2060诉", "complaint high"),
    ("我要投\ufeff诉", "complaint high"),
    ("ter\u00adrible", "negative"),
    ("投\u00a0诉", "complaint high"),
    ("投\n诉你们", "complaint high"),
    ("投-诉", "complaint high"),
    ("投.诉", "complaint high"),
    ("un-acceptable", "negative"),
    ("dis-\nappointed", "negative"),
    ("dis\nappointed", "negative"),
    ("ter\u200brible service", "negative"),
    ("t e r r i b l e", "negative"),
    ("I want to\u00a0cancel my\u00a0account", "churn high"),
    ("you are a\u00a0disgrace", "negative"),
    ("谢谢 再见", "neutral, complaint low"),
    ("没 有 问 题", "positive/neutral"),
    ("不 是 要 投 诉", "complaint low"),
]


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_they_are_read_whole(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)


@pytest.mark.parametrize(("text", "_"), CASES)
def test_what_is_quoted_stands_in_the_turn(text: str, _: str) -> None:
    for quote in judge("你好", text).evidence:
        assert quote.text in ("你好", text)[quote.turn]


def test_turns_are_never_joined() -> None:
    assert judge("投", "诉").complaint_risk == "low"
