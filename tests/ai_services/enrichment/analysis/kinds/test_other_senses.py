"""Names, places and words in another sense are no feeling and no risk."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

NEUTRAL = [
    "公司叫美好科技有限公司",
    "我在幸福路的店",
    "我们单位是优秀文化传媒",
    "地址是快乐家园三号楼",
    "我叫高兴",
    "差五分八点",
    "还差一刻钟",
    "差两天到期",
    "我卡里还差二十块",
    "I live in Pleasant Valley",
    "I work at Happy Park",
    "my name is Grace Sharp, I live on Lovely Lane",
    "I like to ask about the price",
    "I'd like to know the opening hours",
    "帮我取消静音",
    "取消置顶怎么弄",
    "把闹钟取消掉",
    "旧卡注销，换新卡",
    "帮我把旧手机号注销了，用新的",
    "取消一下明天的预约",
    "Please cancel my appointment on Monday",
    "can you cancel the alarm",
    "I need to cancel my dentist appointment",
    "the nurse will terminate the call",
    "please switch to paperless",
    "I am a lawyer",
    "my wife is an attorney",
    "我是律师",
    "我在投诉部门工作",
    "我是投诉组的小王",
    "相机的曝光时间怎么调",
    "过度曝光怎么办",
    "我在工商银行上班",
    "报警器怎么安装",
    "怎么屏蔽骚扰电话拦截",
    "I am looking for a good restaurant",
    "turn right at the corner",
    "I lost my card",
]


@pytest.mark.parametrize("text", NEUTRAL)
def test_they_are_neutral(text: str) -> None:
    assert not unwanted(judge(text), "neutral, complaint low, churn low")


MEANT = [
    ("幸福感满满，非常满意", "positive"),
    ("网速差", "negative"),
    ("比别家差一大截", "negative"),
    ("My lawyer friend recommended you", "complaint low"),
    ("帮我取消会员", "churn high"),
    ("把我的号注销了", "churn high"),
    ("我要找律师告你们", "complaint high"),
    ("my lawyer will contact you", "complaint high"),
    ("I am so happy in Paris with your service", "positive"),
    ("我要曝光你们", "complaint high/medium"),
    ("I like your service", "positive"),
]


@pytest.mark.parametrize(("text", "wanted"), MEANT)
def test_the_same_words_when_they_are_meant(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
