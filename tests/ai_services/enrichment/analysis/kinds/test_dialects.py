"""好 as "very", and the words of the south, of Shanghai, Sichuan and the north."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

NEGATIVE = [
    "好嬲啊",
    "真係好攰",
    "好躁",
    "好伤心",
    "好无奈",
    "好心累",
    "态度好差",
    "信号好差",
    "網速好差",
    "好冇礼貌",
    "好火大",
    "好委屈",
    "好崩溃",
    "等咗好耐",
    "等好耐都冇人听电话",
    "打咗好多次都冇人接",
    "成日断线",
    "真係激气",
    "冇用嘅",
    "成日都冇信號",
    "等咗成个钟",
    "你哋搞错咗",
    "有冇搞错啊",
    "顶唔顺",
    "呢间公司呃人嘅",
    "服务勿灵",
    "老慢的",
    "恼火得很",
    "太闹心了",
    "这服务太次了",
    "莫得用",
    "等好久都没人理",
]
POSITIVE = [
    "好犀利",
    "好靓",
    "服务好",
    "态度很好",
    "师傅人真好",
    "巴适得板",
    "几好啊",
    "好开心",
    "好喜欢你们的服务",
    "真的好",
    "你们的服务是最好的",
    "好得很",
    "安逸得很",
    "服務好好",
    "都挺好",
]


@pytest.mark.parametrize("text", NEGATIVE)
def test_dislike(text: str) -> None:
    assert not unwanted(judge(text), "negative")


@pytest.mark.parametrize("text", POSITIVE)
def test_liking(text: str) -> None:
    assert not unwanted(judge(text), "positive")


LEAVING = ["我唔要喇，帮我cut咗佢", "唔用啦，退咗佢", "我想转台", "唔续约喇", "帮我取消佢，唔要了"]


@pytest.mark.parametrize("text", LEAVING)
def test_leaving_in_cantonese(text: str) -> None:
    assert not unwanted(judge(text), "churn high/medium")
