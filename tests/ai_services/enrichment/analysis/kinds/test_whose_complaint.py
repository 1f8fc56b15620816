"""A complaint that is past, settled, made elsewhere or by somebody else threatens nobody."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

CALM = [
    "你们投诉处理得很及时，点个赞",
    "你们处理投诉的速度挺快的，我很满意",
    "上周投诉的那个事已经解决了，谢谢",
    "之前反映的问题你们处理好了，我很满意",
    "去年投诉过一次，后来解决得很好",
    "上次投诉你们很快就给我解决了",
    "以前投诉过移动，你们比他们强",
    "我投诉的是别的公司，不是你们",
    "我朋友投诉过你们，我没有",
    "我邻居投诉了物业",
    "有人投诉你们，我觉得你们还行",
    "网上好多人投诉，我自己用着还可以",
    "我同事说他要投诉，我没有这个意思",
    "我老公说要投诉，我说算了",
    "我妈要投诉你们，我觉得没必要",
    "哪有什么好投诉的，都挺好",
    "有什么可投诉的呢，服务很好",
    "没有什么不满或投诉",
    "没有问题也没有投诉",
    "我沒有什麼要投訴的",
    "上個月投訴的事情處理好了，多謝",
    "我同事投訴過你哋，我就冇",
    "My last complaint was handled really well, thank you",
    "You dealt with my complaint very quickly, I am impressed",
    "I complained last month and it was resolved within a day",
    "The complaint I made in March has been sorted, all good now",
    "I was happy with how you handled my complaint",
    "Your complaints team was excellent",
    "My sister complained about you but I have had no trouble",
    "A friend of mine filed a complaint, I am not calling about that",
    "Some people complain about the price, I think it is fair",
    "I complained to my landlord, not to you",
    "I had to complain to my previous provider all the time, you are much better",
    "Zero complaints here",
    "I have no problems, complaints or concerns",
    "no issues, no complaints",
    "There are no errors or complaints to report",
    "never had any problem or complaint",
    "without any trouble or complaint",
    "I have neither questions nor complaints",
]

STANDING = [
    "我上次投诉的问题到现在还没解决",
    "上个月投诉过，一直没人处理，我要继续投诉",
    "我要投诉，之前那个客服态度太差",
    "我朋友说得对，我要投诉你们",
    "I complained last month and nothing has changed",
    "my last complaint was never resolved, I want to complain again",
    "I want to file a complaint about the driver, he was rude",
    "My husband is right, I want to file a complaint",
    "你们处理投诉太慢了，我要去12315",
    "我投訴咗三次都冇人理",
]


@pytest.mark.parametrize("text", CALM)
def test_it_is_no_risk(text: str) -> None:
    assert not unwanted(judge(text), "complaint low")


@pytest.mark.parametrize("text", STANDING)
def test_one_that_stands_is_heard(text: str) -> None:
    assert not unwanted(judge(text), "complaint high/medium")


OTHERS = [
    ("隔壁那家店服务很差，你们家好多了", "positive/neutral, complaint low, churn low"),
    ("我之前用的那家公司老乱扣费，所以换到你们这了", "neutral/positive, complaint low, churn low"),
    ("别的银行排队排死人，你们这很快", "positive/neutral, complaint low, churn low"),
    ("My old provider was awful, so I came to you", "neutral/positive, complaint low, churn low"),
    (
        "My previous bank kept charging me fees, that is why I joined you",
        "neutral/positive, complaint low, churn low",
    ),
    ("Your competitors are rude, you are great", "positive/neutral, complaint low, churn low"),
    ("本来想销户的，现在不销了", "churn low"),
    ("之前打算退订，后来决定继续用", "churn low"),
    ("上个月想换运营商，现在不换了", "churn low"),
    ("I was thinking of leaving but decided to stay", "churn low"),
    ("I wanted to cancel last month, but your agent persuaded me to stay", "churn low"),
    ("I almost cancelled, but I changed my mind", "churn low"),
    ("你们比别家差远了", "negative"),
    ("别家都比你们便宜，我要换别家", "churn high"),
    ("my previous provider was better, you are terrible", "negative"),
]


@pytest.mark.parametrize(("text", "wanted"), OTHERS)
def test_what_others_did_and_what_is_over(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
