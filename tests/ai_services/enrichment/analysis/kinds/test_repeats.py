"""Calling again and again, worth that is missing, and negations from afar."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

REPEATED = [
    "this is the fourth time I have called about this",
    "third time I'm calling, same problem",
    "I have called five times already",
    "I've asked three times for a refund form",
    "I have explained this three times",
    "I had to call again",
    "我都打了五次电话了",
    "这是第三次打来了",
    "第四次报修了还是不行",
    "已经反映过三次了",
    "催了好几遍了都没人处理",
    "说了无数遍了",
    "跟你们说了多少次了",
    "問了三次都冇人答",
    "第三次打電話了",
]
WORTHLESS = [
    "毫无责任心",
    "毫无信用可言",
    "一点责任心都没有",
    "一点效率也没有",
    "半点诚意都没有",
    "没有任何帮助",
    "缺乏耐心",
    "毫無誠意",
    "一點用處都沒有",
    "不讲道理",
    "连基本的尊重都没有",
    "服务谈不上好",
    "this is not acceptable",
    "it is not correct",
    "that makes no sense",
    "this doesn't make any sense",
    "it isn't right",
    "zero respect for customers",
    "no integrity at all",
    "I don't understand why I was billed",
    "nobody would call this good service",
    "I don't believe anyone would be happy with this",
    "no one would say this is helpful",
    "没人会觉得你们服务好",
    "我不觉得有人会满意",
    "not what I call good service",
    "hardly what I'd call helpful",
    "I have yet to see good service",
]


@pytest.mark.parametrize("text", REPEATED)
def test_repeated_contact_is_negative(text: str) -> None:
    assert not unwanted(judge(text), "negative")


@pytest.mark.parametrize("text", WORTHLESS)
def test_worth_denied_is_negative(text: str) -> None:
    assert not unwanted(judge(text), "negative")


GLAD_TO_GO = [
    "I am glad that I am no longer your customer",
    "So happy to leave you",
    "delighted that I'm done with you",
    "I'm glad to be switching to another provider",
]


@pytest.mark.parametrize("text", GLAD_TO_GO)
def test_glad_to_go_is_no_praise(text: str) -> None:
    assert not unwanted(judge(text), "negative/neutral, churn high/medium")


WORTHY = [
    ("有没有优惠", "neutral"),
    ("有没有回复", "neutral"),
    ("that is correct", "neutral/positive"),
    ("yes that's right", "neutral/positive"),
    ("it makes sense now", "positive/neutral"),
    ("third time I stay with you and I love it", "positive/neutral"),
    ("第三次来了，一如既往地好", "positive"),
    ("Never have I been let down", "positive/neutral"),
    ("I have never been unhappy with you", "positive/neutral"),
    ("not once was I disappointed", "positive/neutral"),
]


@pytest.mark.parametrize(("text", "wanted"), WORTHY)
def test_what_only_looks_like_it(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
