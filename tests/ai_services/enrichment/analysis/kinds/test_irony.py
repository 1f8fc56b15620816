"""Rhetorical questions, wishes and praise beside a misfortune are no praise."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

RHETORICAL = [
    "这也叫专业",
    "这就是你们所谓的贴心服务",
    "这算什么优质服务",
    "难道你们觉得这样很好吗",
    "谁会喜欢这种服务",
    "谁还敢信任你们",
    "我怎么可能开心",
    "你让我怎么放心",
    "方便什么呀",
    "专业个鬼",
    "開心什麼啊",
    "這也叫高效",
    "有什么好高兴的",
    "满意什么满意",
    "you call that helpful",
    "is that what you call professional",
    "how could I be satisfied with this",
    "who would be happy with that",
    "do you really call this great service",
    "since when is this good service",
    "how am I supposed to be happy about this",
    "so-called excellent support",
    "why would I recommend you",
]
WISHES = [
    "要是服务能好一点就好了",
    "本来可以很满意的",
    "本该很顺利的",
    "原本应该很方便的",
    "真希望你们靠谱一点",
    "I wish your service were reliable",
    "If only the support was helpful",
    "it should have been easy",
    "it could have been a great experience",
    "it was supposed to be fast",
    "I wish I could say it was good",
    "would have been nice to get an answer",
    "如果你们靠谱一点我就不会打来了",
    "if I were happy I wouldn't be calling",
    "要是满意我还打这个电话干嘛",
]
IRONY = [
    "真不错，又断线了",
    "太棒了，又给我扣钱",
    "好极了，等了两个小时没人接",
    "厉害了，退个款退了一个月",
    "真行，又涨价了",
    "真有你们的，又发错货",
    "谢谢你们啊，害我白跑一趟",
    "多谢，浪费我一整天",
    "太好了，網又斷了",
    "服务真好，打了十次没人接",
    "Great, it crashed again",
    "Fantastic, another hour wasted",
    "Perfect, you lost my order again",
    "Lovely, still no internet",
    "Brilliant. Charged twice again",
    "Awesome, on hold for two hours",
    "Great job breaking my phone",
    "Thanks for making me wait all day",
    "Thank you for ruining my weekend",
    "Well done, wrong item again",
    "Nice work deleting my account data",
]
SINCERE = [
    "太好了，谢谢你帮我解决了",
    "真棒，网速快多了",
    "谢谢你的耐心解答，很满意",
    "太好了，终于修好了",
    "服务真好，下次还来",
    "Great, that fixed it, thank you",
    "Wonderful, thanks for your help, you were great",
    "Perfect, it works now",
    "Thanks for fixing it so quickly, excellent",
    "Great job fixing my phone, I love it",
    "who would have thought, it works great now",
]


@pytest.mark.parametrize("text", RHETORICAL)
def test_a_rhetorical_question_is_negative(text: str) -> None:
    assert not unwanted(judge(text), "negative")


@pytest.mark.parametrize("text", WISHES)
def test_a_wish_is_no_praise(text: str) -> None:
    assert not unwanted(judge(text), "negative/neutral")


@pytest.mark.parametrize("text", IRONY)
def test_praise_beside_a_misfortune_is_negative(text: str) -> None:
    assert not unwanted(judge(text), "negative")


@pytest.mark.parametrize("text", SINCERE)
def test_praise_that_is_meant_is_heard(text: str) -> None:
    assert not unwanted(judge(text), "positive")
