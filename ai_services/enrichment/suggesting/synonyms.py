"""What other systems call the fields of a call record, in Chinese and in English, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "callid": (
        "callid", "uniqueid", "call uuid", "callsid", "call sid", "call id", "sid", "record id",
        "contact id", "session id", "conversation id", "interaction id", "uuid", "cdr id", "id",
        "通话id", "通话编号", "呼叫id", "呼叫编号", "话单id", "话单号", "会话id", "记录id", "记录编号",
        "流水号", "唯一标识", "编号",
    ),
    "task_id": (
        "task id", "campaign id", "campaign", "task", "task name", "campaign name", "queue",
        "skill group", "job id", "任务id", "任务编号", "任务名称", "任务", "外呼任务", "活动", "活动名称",
        "技能组", "队列", "批次",
    ),
    "user_id": (
        "user id", "account id", "account", "accountcode", "user", "team", "账号", "账户", "用户id",
        "agent id", "agent", "agent name", "extension", "seat id", "seat", "operator", "employee",
        "坐席工号", "坐席id", "坐席", "坐席姓名", "客服", "客服工号", "座席", "座席工号", "工号", "分机",
        "分机号", "员工", "业务员", "机器人", "src", "caller", "from", "calling number", "主叫号码",
        "主叫", "外显号码",
    ),
    # Where no column is the account's, that of the agent is taken for both (guess.py).
    "agent_id": (
        "agent id", "agent", "seat id", "seat", "agent extension", "operator id", "operator",
        "agent name", "extension", "employee id", "employee", "坐席工号", "坐席id", "坐席", "座席工号",
        "座席id", "座席", "客服工号", "客服id", "客服", "工号", "坐席分机", "坐席姓名", "座席姓名",
        "客服姓名", "分机号", "分机", "业务员", "员工", "机器人",
    ),
    "customer_id": (
        "customer id", "lead id", "client id", "contact", "member id", "customer", "客户id", "客户编号",
        "客户名称", "客户姓名", "客户", "会员id", "会员编号",
    ),
    "phone": (
        "phone", "phone number", "customer phone", "mobile", "callee", "called number", "called",
        "destination", "dnis", "dst", "to", "callee number", "to number", "客户号码", "客户电话", "手机号码",
        "手机号", "手机", "被叫号码", "被叫", "电话号码", "电话", "号码", "联系电话", "联系方式",
    ),
    "started_at": (
        "started at", "start time", "calldate", "call time", "start", "begin time", "call start",
        "call date", "begin call time", "start stamp", "start timestamp", "start epoch", "date time",
        "timestamp", "datetime", "time", "date", "created at", "create time", "呼叫时间", "开始时间",
        "通话时间", "通话开始时间", "呼叫开始时间", "拨打时间", "外呼时间", "拨号时间", "发起时间", "时间",
        "日期", "创建时间",
    ),
    "duration_ms": (
        "duration ms", "duration", "call duration", "length in sec", "call length", "total duration",
        "talk time", "talk duration", "billsec", "talking", "duration s", "duration sec",
        "duration seconds", "talk seconds", "通话时长", "通话时间长度", "时长", "通话秒数", "呼叫时长",
        "总时长", "通话长度", "持续时间", "时长秒", "通话时长秒",
    ),
    "bill_ms": (
        "bill ms", "billsec", "bill time", "billable", "billed duration", "bill duration", "talk time",
        "talking", "talk duration", "计费时长", "计费秒数", "计费时间",
    ),
    "rounds": (
        "rounds", "turn count", "dialog rounds", "call rounds", "interactions", "对话轮次", "交互轮次",
        "轮次", "轮数", "对话轮数",
    ),
    "level_name": (
        "level name", "intention", "intention level", "level", "grade", "intent", "意向等级", "意向级别",
        "客户意向", "意向", "等级", "客户等级", "意向标签",
    ),
    "call_status": (
        "call status", "disposition", "status", "call result", "result", "state", "outcome",
        "call state", "end status", "dial status", "通话状态", "呼叫状态", "呼叫结果", "通话结果", "拨打结果",
        "接通状态", "是否接通", "状态", "结果", "拨打状态",
    ),
    "hangup_by": (
        "hangup by", "hangup side", "hung up side", "hangup party", "release initiator", "term reason",
        "disconnect type", "disconnected by", "release side", "hangup direction", "挂断方", "挂机方",
        "挂断人", "谁挂断", "挂断方向", "挂断类型", "释放方",
    ),
    "turns": (
        "turns", "transcript", "dialog", "dialogue", "conversation", "messages", "utterances", "asr",
        "对话", "对话内容", "通话内容", "对话详情", "录音文本", "转写", "转写文本", "通话文本", "会话内容",
    ),
}  # fmt: skip
GROUPS: Final = (
    "linkedid", "linked id", "parent call sid", "master call id", "group id", "call group",
    "original call id", "主通话id", "关联id", "关联通话",
)  # fmt: skip
LEG_IDS: Final = ("sequence", "leg id", "segment id", "leg", "segment")
_UNIT: Final = re.compile(
    r"\((?:s|sec|secs|seconds|ms|秒|毫秒)\)|（(?:秒|毫秒|s|ms)）", re.IGNORECASE
)
_FILLERS: Final = re.compile(r"[\s_.\-/#]+")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def plain(name: str) -> str:
    """As names are compared: `Start_Time`, `startTime` and `start time` are one."""
    return _FILLERS.sub("", _UNIT.sub("", name).strip()).casefold()


_PLACES: Final[Mapping[str, Mapping[str, int]]] = {
    field: {plain(name): place for place, name in reversed(list(enumerate(names)))}
    for field, names in SYNONYMS.items()
}
_KNOWN: Final = frozenset(name for places in _PLACES.values() for name in places) | {
    plain(name) for name in (*GROUPS, *LEG_IDS)
}


def is_known(name: str) -> bool:
    return plain(name) in _KNOWN


def likeness(field: str, name: str) -> float:
    """From 0 to 1: 1 for the name that nearly always holds the field, less for others."""
    places, said = _PLACES[field], plain(name)
    place = places.get(said)
    if place is not None:
        return 1 - 0.5 * place / len(places)
    longest = max((len(known) for known in places if len(known) > 2 and known in said), default=0)
    return 0.45 * longest / len(said) if longest else 0.0
