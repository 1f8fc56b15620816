"""Files that nobody has described, made up for tests, and the calls that they tell of."""

from __future__ import annotations

import gzip
import json
from typing import Any, Final, NamedTuple


class Unknown(NamedTuple):
    """`calls`: by callid, some of what its call is."""

    name: str
    data: bytes
    calls: dict[str, dict[str, Any]]


def _lines(*rows: str, encoding: str = "utf-8", end: str = "\n") -> bytes:
    return "".join(row + end for row in rows).encode(encoding)


AT: Final = "2024-03-05T06:20:00Z"
_ROBOT: Final = (
    "通话ID,任务名称,坐席,客户ID,被叫号码,呼叫时间,通话时长(秒),通话状态,意向等级,挂断方,备注",
    "t-1,春季回访,张三,k-1,13812348000,2024/03/05 14:20:00,65,接通,A级,客户,",
    "t-2,春季回访,张三,k-2,13812348001,2024/03/05 14:21:00,0,无人接听,,,下周再打",
    "t-3,春季回访,李四,k-3,13812348002,2024/03/15 14:22:00,0,关机,,,",
    "t-4,春季回访,李四,k-4,13812348003,2024/03/15 14:23:00,0,空号,,,",
    "t-5,春季回访,李四,k-5,13812348004,2024/03/15 14:24:00,12,接通,C级,机器人,",
)
_ROBOT_CALLS: Final[dict[str, dict[str, Any]]] = {
    "t-1": {
        "user_id": "张三", "agent_id": "张三", "task_id": "春季回访", "customer_id": "k-1", "phone": "+8613812348000",
        "started_at": AT, "duration_ms": 65_000, "call_status": "connected", "level_name": "A",
        "hangup_by": 2,
    },
    "t-2": {"call_status": "no_answer", "duration_ms": 0},
    "t-3": {"call_status": "power_off", "user_id": "李四"},
    "t-4": {"call_status": "invalid_number"},
    "t-5": {"call_status": "connected", "level_name": "C", "hangup_by": 1, "duration_ms": 12_000},
}  # fmt: skip
_TALK: Final = [
    {"speaker": "robot", "start": 0.5, "content": "您好"},
    {"speaker": "user", "start": 2.0, "content": "不需要"},
]

UNKNOWN: Final = (
    Unknown("robot.csv", _lines(*_ROBOT), _ROBOT_CALLS),
    Unknown("robot-gbk.csv", _lines(*_ROBOT, encoding="gb18030", end="\r\n"), _ROBOT_CALLS),
    Unknown("robot.csv.gz", gzip.compress(_lines(*_ROBOT)), _ROBOT_CALLS),
    Unknown("robot-bom.csv", "\ufeff".encode() + _lines(*_ROBOT), _ROBOT_CALLS),
    Unknown(
        "semicolon.csv",
        _lines(
            "Call ID;Agent;Phone Number;Start Time;Duration (s);Status",
            "a-1;ann;13812348000;05.03.2024 14:20:00;65;Answered",
            "a-2;bob;13812348001;25.03.2024 14:21:00;0;No Answer",
            "a-3;bob;13812348002;25.03.2024 14:22:00;0;Busy",
        ),
        {
            "a-1": {"user_id": "ann", "agent_id": "ann", "started_at": AT, "duration_ms": 65_000,
                    "call_status": "connected", "phone": "+8613812348000"},
            "a-2": {"call_status": "no_answer"},
            "a-3": {"call_status": "busy"},
        },
    ),
    Unknown(
        "tabs.tsv",
        _lines(
            "uniqueid\taccountcode\toperator\tdst\tcalldate\tduration\tbillsec\tdisposition",
            "17.1\tteam-1\tann\t13812348000\t2024-03-05 14:20:00\t73\t65\tANSWERED",
            "17.2\tteam-2\t\t13812348001\t2024-03-05 14:21:00\t30\t0\tNO ANSWER",
            "17.3\tteam-2\tbob\t13812348002\t2024-03-05 14:22:00\t3\t0\tCONGESTION",
        ),
        {
            "17.1": {"user_id": "team-1", "agent_id": "ann", "started_at": AT, "duration_ms": 73_000,
                     "bill_ms": 65_000, "call_status": "connected"},
            "17.2": {"call_status": "no_answer", "duration_ms": 30_000},
            "17.3": {"call_status": "failed"},
        },
    ),
    Unknown(
        "unix.jsonl",
        _lines(
            *(
                json.dumps(one)
                for one in (
                    {"callId": "v-1", "callee": "13812348000", "agentId": "s-1",
                     "beginCallTime": 1709619600000, "callDuration": 65, "callResult": "success"},
                    {"callId": "v-2", "callee": "13812348001", "agentId": "s-2",
                     "beginCallTime": 1709619660000, "callDuration": 0, "callResult": "busy"},
                )
            )
        ),
        {
            "v-1": {"user_id": "s-1", "started_at": AT, "duration_ms": 65_000,
                    "call_status": "connected", "phone": "+8613812348000"},
            "v-2": {"call_status": "busy"},
        },
    ),
    Unknown(
        "milliseconds.csv",
        _lines(
            "id,user,mobile,created_at,duration_ms,result",
            "m-1,u-1,13812348000,2024-03-05T06:20:00Z,65000,completed",
            "m-2,u-1,13812348001,2024-03-05T06:21:00Z,8000,completed",
            "m-3,u-2,13812348002,2024-03-05T06:22:00Z,0,failed",
        ),
        {
            "m-1": {"started_at": AT, "duration_ms": 65_000, "call_status": "connected"},
            "m-2": {"duration_ms": 8_000},
            "m-3": {"call_status": "failed", "user_id": "u-2"},
        },
    ),
    Unknown(
        "am-pm.csv",
        _lines(
            "Record ID,Extension,Called Number,Call Time,Talk Time Seconds,Outcome",
            '1,101,13812348000,"3/5/2024 2:20 PM",65,Completed',
            '2,102,13812348001,"3/15/2024 2:21 PM",0,Missed',
            '3,102,13812348002,"3/15/2024 2:22 PM",0,Declined',
        ),
        {
            "1": {"user_id": "101", "started_at": AT, "duration_ms": 65_000},
            "2": {"call_status": "no_answer"},
            "3": {"call_status": "rejected"},
        },
    ),
    Unknown(
        "legs.csv",
        _lines(
            "calldate,src,dst,duration,billsec,disposition,uniqueid,linkedid,sequence",
            "2024-03-05 14:20:00,13812348000,601,8,0,NO ANSWER,17.2,17.1,2",
            "2024-03-05 14:20:00,13812348000,602,73,65,ANSWERED,17.3,17.1,3",
            "2024-03-05 14:30:00,13812348001,601,5,0,BUSY,17.4,17.4,4",
        ),
        {
            "17.1": {"call_status": "connected", "duration_ms": 73_000, "bill_ms": 65_000},
            "17.4": {"call_status": "busy"},
        },
    ),
    Unknown(
        "doubled.csv",  # one id for both legs, and nothing else that joins them
        _lines(
            "calldate,clid,src,dst,channel,duration,billsec,disposition,uniqueid",
            "2024-03-05 14:20:00,Desk,2001,13812348000,PJSIP/b,73,65,ANSWERED,17.7",
            "2024-03-05 14:20:00,Desk,2001,13812348000,PJSIP/c,8,0,NO ANSWER,17.7",
            "2024-03-05 14:25:00,Desk,2001,13812348001,PJSIP/d,8,0,CONGESTION,17.9",
        ),
        {
            "17.7": {"call_status": "connected", "duration_ms": 73_000, "bill_ms": 65_000},
            "17.9": {"call_status": "failed"},
        },
    ),
    Unknown(
        "transcripts.jsonl",
        _lines(
            *(
                json.dumps(one, ensure_ascii=False)
                for one in (
                    {"会话ID": "c-1", "坐席工号": "1001", "客户电话": "13812348000",
                     "开始时间": "2024-03-05 14:20:00", "时长": 65, "状态": "已接通", "对话内容": _TALK},
                    {"会话ID": "c-2", "坐席工号": "1002", "客户电话": "13812348001",
                     "开始时间": "2024-03-05 14:21:00", "时长": 0, "状态": "占线", "对话内容": None},
                )
            )
        ),
        {
            "c-1": {
                "user_id": "1001", "started_at": AT, "rounds": 1,
                "turns": '[{"role":"agent","at_ms":500,"text":"您好"},'
                '{"role":"customer","at_ms":2000,"text":"不需要"}]',
            },
            "c-2": {"call_status": "busy", "turns": None},
        },
    ),
    Unknown(
        "no-account.csv",
        _lines(
            "流水号,手机号,拨打时间,时长,是否接通",
            "n-1,13812348000,2024年03月05日 14:20:00,65,是",
            "n-2,13812348001,2024年03月05日 14:21:00,0,否",
        ),
        {
            "n-1": {"user_id": "team", "started_at": AT, "call_status": "connected"},
            "n-2": {"user_id": "team", "call_status": "no_answer"},
        },
    ),
    Unknown(
        "nothings.csv",
        _lines(
            "call_id,agent_name,customer_phone,start_time,duration,call_status,level",
            "z-1,ann,13812348000,2024-03-05 14:20:00,65,connected,A",
            "z-2,-,13812348001,2024-03-05 14:21:00,NULL,busy,-",
            "z-3,bob,13812348002,2024-03-05 14:22:00,4,connected,B",
        ),
        {
            "z-1": {"user_id": "ann", "level_name": "A", "duration_ms": 65_000},
            "z-3": {"user_id": "bob", "level_name": "B"},
        },
    ),
)  # fmt: skip
