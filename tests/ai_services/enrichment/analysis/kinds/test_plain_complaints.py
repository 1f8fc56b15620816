"""Complaints without a strong word: politely, plainly, by what happened."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

NEGATIVE = [
    "我反映好几次了，一直没人回复我",
    "都五天了还没发货",
    "说好三天到，都一周了还没到",
    "你们什么态度",
    "这是什么服务态度",
    "你们是不是骗子",
    "推来推去的，没人管",
    "一直把我转来转去",
    "交智商税了",
    "就这？",
    "割韭菜呢",
    "什么破服务",
    "到现在都没人联系我",
    "一直没有人给我打电话",
    "谁都不管",
    "爱答不理的",
    "打了半天没人接听",
    "真是谢谢你们啊，让我白跑一趟",
    "都三個月了還沒退款",
    "沒有人回覆我",
    "you keep passing me from one person to another",
    "nobody gets back to me",
    "I still haven't heard back",
    "could someone finally call me back",
    "is anyone going to fix this",
    "you keep transferring me",
    "this has been going on for weeks and nobody helps",
    "I was promised a callback that never came",
    "the parcel never arrived",
    "what kind of service is this",
    "I was charged without being told",
]
NO_PRAISE = [
    "希望你们能改进一下服务",
    "建议你们提升服务质量",
    "希望以后能及时通知",
    "应该提前通知客户",
    "希望貴司重視",
    "please improve your service",
    "you should be more helpful",
    "I hope you can improve",
]


@pytest.mark.parametrize("text", NEGATIVE)
def test_it_is_negative(text: str) -> None:
    assert not unwanted(judge(text), "negative")


@pytest.mark.parametrize("text", NO_PRAISE)
def test_asking_for_better_is_no_praise(text: str) -> None:
    assert not unwanted(judge(text), "negative/neutral")


SPOKEN_FOR = [
    ("If this isn't fixed I'm switching to Vodafone", "churn high/medium"),
    ("if you don't refund me I will cancel my contract", "churn high/medium"),
    ("再不修好我就换别家", "churn high/medium"),
    ("如果不解决我就去销户", "churn high/medium"),
    ("not fixed by Friday and I'm going to Comcast, switching to them", "churn high/medium"),
    ("please tell your manager that she was great", "positive/neutral, complaint low"),
    ("can I speak to your manager? I want to praise the agent, she was wonderful", "complaint low"),
    ("请转告你们领导，小李服务特别好", "positive, complaint low"),
    ("我想表扬一下你们的客服，请告诉你们经理", "positive, complaint low"),
    ("my son says I should sue you but I won't", "complaint low/medium"),
    ("客服建议我投诉，我不想投诉", "complaint low"),
    ("他们让我投诉，我觉得没必要", "complaint low"),
]


@pytest.mark.parametrize(("text", "wanted"), SPOKEN_FOR)
def test_conditions_messages_and_what_others_say(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
