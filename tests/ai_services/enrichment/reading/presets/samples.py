"""Small exports as each system writes them, made up for tests; and the calls that they tell of."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple


class Sample(NamedTuple):
    """`calls`: by callid, what a call has beside Nones and zeros; `rejected`: lines left out."""

    name: str
    text: str
    calls: dict[str, dict[str, Any]]
    rejected: tuple[int, ...] = ()


NOBODY: Final = ("pbx", "VDAD")


def _lines(*rows: str) -> str:
    return "".join(row + "\n" for row in rows)


def _json(*rows: dict[str, Any]) -> str:
    return _lines(*(json.dumps(row, ensure_ascii=False) for row in rows))


def connected(user: str, at: str, length: int, talk: int, phone: str | None, **more: Any) -> Any:
    return _call("connected", user, at, length, talk, phone, **more)


def _call(
    status: str, user: str, at: str, length: int, talk: int, phone: str | None, **more: Any
) -> dict[str, Any]:
    """The account's is whoever spoke, unless said."""
    return {
        "call_status": status, "user_id": user, "agent_id": None if user in NOBODY else user,
        "started_at": at, "duration_ms": length, "bill_ms": talk, "phone_masked": phone, **more,
    }  # fmt: skip


SAMPLES: Final = {
    "asterisk": Sample(
        "Master.csv",
        _lines(
            # Out; rung out; in over a queue that rings 2003; a caller who leaves the queue.
            '"","2001","13800001111","from-internal","""Desk A"" <2001>","PJSIP/2001-0000a1",'
            '"PJSIP/trunk-0000a2","Dial","PJSIP/13800001111@trunk,30","2024-03-05 14:20:00",'
            '"2024-03-05 14:20:08","2024-03-05 14:21:13",73,65,"ANSWERED","DOCUMENTATION","17.101",""',
            '"","2002","13800002222","from-internal","""Desk B"" <2002>","PJSIP/2002-0000a3","",'
            '"Dial","PJSIP/13800002222@trunk,30","2024-03-05 14:22:00",,"2024-03-05 14:22:30",30,0,'
            '"NO ANSWER","DOCUMENTATION","17.102",""',
            '"","13900003333","600","from-trunk","13900003333","PJSIP/trunk-0000a4",'
            '"Local/2003@from-queue-00000001;1","Queue","600,t","2024-03-05 14:30:00",'
            '"2024-03-05 14:30:01","2024-03-05 14:31:00",60,59,"ANSWERED","DOCUMENTATION","17.103",""',
            '"","13900004444","600","from-trunk","13900004444","PJSIP/trunk-0000a5","","Queue",'
            '"600,t","2024-03-05 14:40:00","2024-03-05 14:40:01","2024-03-05 14:40:31",31,30,'
            '"ANSWERED","DOCUMENTATION","17.104",""',
        ),
        {
            "17.101": connected("2001", "2024-03-05T06:20:00Z", 73_000, 65_000, "138****1111"),
            "17.102": _call("no_answer", "2002", "2024-03-05T06:22:00Z", 30_000, 0, "138****2222"),
            "17.103": connected("2003", "2024-03-05T06:30:00Z", 60_000, 59_000, "139****3333"),
            "17.104": _call("no_answer", "pbx", "2024-03-05T06:40:00Z", 31_000, 0, "139****4444"),
        },
    ),
    "freepbx": Sample(
        "cdr.csv",
        _lines(
            "calldate,clid,src,dst,dcontext,channel,dstchannel,lastapp,lastdata,duration,billsec,"
            "disposition,amaflags,accountcode,uniqueid,userfield,did,recordingfile,cnum,cnam,"
            "outbound_cnum,outbound_cnam,dst_cnam,linkedid,peeraccount,sequence",
            # A ring group: 601 and 603 ring, 602 answers and passes on to 700.
            "2024-03-05 14:20:00,x,13812348000,601,ext-local,PJSIP/trunk-01,PJSIP/601-02,Dial,x,8,0,"
            "NO ANSWER,3,,17.1,,,,,,,,,17.1,,1",
            "2024-03-05 14:20:00,x,13812348000,602,ext-local,PJSIP/trunk-01,PJSIP/602-03,Dial,x,73,65,"
            "ANSWERED,3,,17.1,,,,,,,,,17.1,,2",
            "2024-03-05 14:20:00,x,13812348000,603,ext-local,PJSIP/trunk-01,PJSIP/603-04,Dial,x,8,0,"
            "NO ANSWER,3,,17.1,,,,,,,,,17.1,,3",
            "2024-03-05 14:21:13,x,13812348000,700,ext-local,PJSIP/trunk-01,PJSIP/700-05,Dial,x,60,55,"
            "ANSWERED,3,,17.9,,,,,,,,,17.1,,4",
            "2024-03-05 14:25:00,x,601,13912348001,ext-local,PJSIP/601-06,,Dial,x,20,0,"
            "BUSY,3,,17.20,,,,,,,,,17.20,,5",
            "2024-03-05 14:26:00,x,601,13912348001,ext-local,PJSIP/601-06,,Dial,x,2,0,"
            "WHAT,3,,17.21,,,,,,,,,17.21,,6",
        ),
        {
            "17.1": connected("602", "2024-03-05T06:20:00Z", 133_000, 120_000, "138****8000"),
            "17.20": _call("busy", "601", "2024-03-05T06:25:00Z", 20_000, 0, "139****8001"),
        },
        rejected=(7,),
    ),
    "fusionpbx": Sample(
        "cdr.csv",
        _lines(
            '"domain_uuid","extension","start_epoch","hangup_cause","duration","billsec",'
            '"xml_cdr_uuid","bridge_uuid","direction","caller_id_name","caller_id_number",'
            '"destination_number","leg","status","sip_hangup_disposition","tta"',
            '"d","","1709619600","NORMAL_CLEARING","60","60","a-1","b-1","inbound","x",'
            '"13812348000","8000","a","answered","recv_bye","10"',
            '"d","101","1709619605","NORMAL_CLEARING","60","60","b-1","a-1","inbound","x",'
            '"13812348000","101","b","answered","send_bye","5"',
            '"d","","1709620000","ORIGINATOR_CANCEL","0","0","c-1","","inbound","x","13812348001",'
            '"8000","a","missed","",""',
            '"d","102","1709621000","USER_BUSY","0","0","d-1","","outbound","x","102","13812348002",'
            '"a","busy","",""',
            '"d","102","1709622000","NORMAL_CLEARING","30","30","e-1","","outbound","x","102",'
            '"13812348003","a","answered","recv_bye","4"',
        ),
        {
            # Both legs were answered at one moment; the member's rang last.
            "a-1": connected("101", "2024-03-05T06:20:00Z", 70_000, 60_000, "138****8000", hangup_by=2),
            "c-1": _call("no_answer", "8000", "2024-03-05T06:26:40Z", 0, 0, "138****8001",
                         agent_id=None),
            "d-1": _call("busy", "102", "2024-03-05T06:43:20Z", 0, 0, "138****8002"),
            "e-1": connected("102", "2024-03-05T07:00:00Z", 34_000, 30_000, "138****8003", hangup_by=1),
        },
    ),
    "3cx": Sample(
        "cdr.log",
        _lines(
            "Call 1,00000A_1,00:08:10,2024/04/30 06:27:28,2024/04/30 06:27:36,2024/04/30 06:35:46,"
            "TerminatedByDst,13812348000,Ext.80002,10020,80002,80002,ReplacedDst,Ext.10013,10013,"
            ",,,,Chain: 13812348000;Ext.80002;Ext.10013;,Line,Queue,Extension,c,support,agent,",
            "Call 2,00000A_2,0:01:05,2024/04/30 07:00:00,2024/04/30 07:00:05,2024/04/30 07:01:10,"
            "TerminatedByDst,Ext.10013,13812348001,10013,10020,13812348001,,13812348001,10020,"
            ",,,,Chain: Ext.10013;13812348001;,Extension,Line,Line,a,b,c,",
            "Call 3,00000A_3,,2024/04/30 08:00:00,,2024/04/30 08:00:20,TerminatedBySrc,13812348002,"
            "Ext.10013,10020,10013,10013,,,,,,,,Chain: x;,Line,Extension,,a,b,c,",
            "Call 4,00000A_4,,2024/04/30 08:10:00,,2024/04/30 08:10:02,FailedBusy,Ext.10013,"
            "13812348003,10013,10020,13812348003,,,,,,,,Chain: x;,Extension,Line,,a,b,c,",
        ),
        {
            "00000A_1": connected("10013", "2024-04-30T06:27:28Z", 490_000, 490_000, "138****8000", hangup_by=1),
            "00000A_2": connected("10013", "2024-04-30T07:00:00Z", 65_000, 65_000, "138****8001", hangup_by=2),
            "00000A_3": _call("no_answer", "10013", "2024-04-30T08:00:00Z", 0, 0, "138****8002",
                              agent_id=None),
            "00000A_4": _call("busy", "10013", "2024-04-30T08:10:00Z", 0, 0, "138****8003"),
        },
    ),
    "vicidial": Sample(
        "vicidial_log.csv",
        _lines(
            "uniqueid,lead_id,list_id,campaign_id,call_date,start_epoch,end_epoch,length_in_sec,"
            "status,phone_code,phone_number,user,comments,processed,user_group,term_reason,alt_dial,"
            "called_count",
            "17.1,501,1,SALES,2024-03-05 14:20:00,1709619600,1709619665,65,SALE,86,13812348000,"
            "6001,AUTO,N,AGENTS,CALLER,NONE,1",
            "17.2,502,1,SALES,2024-03-05 14:21:00,1709619660,1709619690,0,NA,86,13812348001,"
            "VDAD,AUTO,N,,NONE,NONE,1",
            "17.3,503,1,SALES,2024-03-05 14:22:00,1709619720,1709619725,5,DROP,86,13812348002,"
            "VDAD,AUTO,N,,ABANDON,NONE,1",
            "17.4,504,1,SALES,2024-03-05 14:23:00,1709619780,1709619800,20,MYOWN,86,13812348003,"
            "6002,AUTO,N,AGENTS,AGENT,NONE,1",
            "17.5,505,1,SALES,2024-03-05 14:24:00,1709619840,1709619841,NULL,DC,86,13812348004,"
            "VDAD,AUTO,N,,NONE,NONE,1",
        ),
        {
            "17.1": connected("6001", "2024-03-05T06:20:00Z", 65_000, 65_000, "138****8000",
                              hangup_by=2, task_id="SALES", customer_id="501"),
            "17.2": _call("no_answer", "VDAD", "2024-03-05T06:21:00Z", 0, 0, "138****8001",
                          task_id="SALES", customer_id="502"),
            "17.3": _call("failed", "VDAD", "2024-03-05T06:22:00Z", 5_000, 0, "138****8002",
                          task_id="SALES", customer_id="503"),
            "17.4": connected("6002", "2024-03-05T06:23:00Z", 20_000, 20_000, "138****8003",
                              hangup_by=1, task_id="SALES", customer_id="504"),
            "17.5": _call("invalid_number", "VDAD", "2024-03-05T06:24:00Z", 0, 0, "138****8004",
                          task_id="SALES", customer_id="505"),
        },
    ),
    "twilio": Sample(
        "calls.jsonl",
        _json(
            # An inbound call, dialled on to alice; a busy one out; one that isn't over.
            {"sid": "CA1", "parent_call_sid": None, "status": "completed", "duration": "70",
             "start_time": "Tue, 05 Mar 2024 06:20:00 +0000", "from": "+8613812348000",
             "to": "+15105550100", "direction": "inbound"},
            {"sid": "CA2", "parent_call_sid": "CA1", "status": "completed", "duration": "60",
             "start_time": "Tue, 05 Mar 2024 06:20:10 +0000", "from": "+8613812348000",
             "to": "client:alice", "direction": "inbound"},
            {"sid": "CA3", "parent_call_sid": None, "status": "busy", "duration": "0",
             "start_time": "2024-03-05 07:20:00 UTC", "from": "+15105550100", "to": "+8613812348001",
             "direction": "outbound-api"},
            {"sid": "CA4", "parent_call_sid": None, "status": "ringing", "duration": None,
             "start_time": None, "from": "+15105550100", "to": "+8613812348001",
             "direction": "outbound-api"},
        ),
        {
            "CA1": connected("+15105550100", "2024-03-05T06:20:00Z", 70_000, 70_000, "138****8000",
                             agent_id=None),
            "CA3": _call("busy", "+15105550100", "2024-03-05T07:20:00Z", 0, 0, "138****8001",
                         agent_id=None),
        },
        rejected=(4,),
    ),
    "five9": Sample(
        "call-log.csv",
        _lines(
            "CALL ID,TIMESTAMP,CAMPAIGN,CALL TYPE,AGENT,AGENT NAME,DISPOSITION,ANI,CUSTOMER NAME,DNIS,"
            "CALL TIME,BILL TIME (ROUNDED),COST,IVR TIME,QUEUE WAIT TIME,RING TIME,TALK TIME,HOLD TIME,"
            "PARK TIME,AFTER CALL WORK TIME,TRANSFERS,CONFERENCES,HOLDS,ABANDONED,RECORDINGS",
            '1,"Tue, 05 Mar 2024 14:20:00",Spring,Inbound,ann@example.com,Ann,Sold,4155550123,x,'
            "8005550100,00:02:05,00:02:06,0,00:00:05,00:00:10,00:00:04,00:01:46,00:00:00,00:00:00,"
            "00:00:20,0,0,0,0,",
            '2,"Tue, 05 Mar 2024 14:25:00",Spring,Autodial,[None],,Operator Intercept,8005550100,x,'
            "4155550124,00:00:00,00:00:00,0,00:00:00,00:00:00,,00:00:00,00:00:00,00:00:00,00:00:00,"
            ",,,,",
            '3,"Tue, 05 Mar 2024 14:26:00",Spring,Outbound,ann@example.com,Ann,No Answer,8005550100,x,'
            "4155550125,00:00:21,00:00:00,0,00:00:00,00:00:00,,00:00:00,00:00:00,00:00:00,00:00:00,"
            ",,,,",
        ),
        {
            "1": connected("ann@example.com", "2024-03-05T22:20:00Z", 125_000, 106_000, "141****0123",
                           task_id="Spring"),
            "2": _call("invalid_number", "pbx", "2024-03-05T22:25:00Z", 0, 0, "141****0124",
                       task_id="Spring"),
            "3": _call("no_answer", "ann@example.com", "2024-03-05T22:26:00Z", 21_000, 0,
                       "141****0125", task_id="Spring"),
        },
    ),
    "genesys": Sample(
        "interactions.csv",
        _lines(
            "Full Export Completed,Partial Result Timestamp,Filters,Media Type,Users,Remote,Date,"
            "Duration,Direction,ANI,DNIS,Queue,Wrap-up,Conversation ID,Total Talk,Disconnect Type",
            "YES,,,voice,Ann Lee; Bo Xu,x,3/5/24 2:20 PM,125000,Inbound,+8613812348000,+862155550100,"
            "Support,Solved,g-1,106000,Client",
            "YES,,,voice,,x,3/5/24 2:25 PM,00:00:31.500,Inbound,+8613812348001,+862155550100,"
            "Support,,g-2,,Client",
            "YES,,,chat,Ann Lee,x,3/5/24 2:26 PM,60000,Inbound,,,Support,,g-3,,Client",
            "YES,,,voice,Ann Lee,x,3/5/24 2:30 PM,90000,Outbound,+862155550100,+8613812348002,"
            "Sales,,g-4,80000,System",
        ),
        {
            "g-1": connected("Ann Lee", "2024-03-05T06:20:00Z", 125_000, 106_000, "138****8000",
                             task_id="Support", hangup_by=2),
            "g-2": _call("no_answer", "pbx", "2024-03-05T06:25:00Z", 31_500, 0, "138****8001",
                         task_id="Support"),
            "g-4": connected("Ann Lee", "2024-03-05T06:30:00Z", 90_000, 80_000, "138****8002",
                             task_id="Sales", hangup_by=1),
        },
        rejected=(4,),
    ),
    "aliyun": Sample(
        "cdr.jsonl",
        _json(
            {"ContactId": "job-1", "ContactType": "OUTBOUND", "ContactDisposition": "Success",
             "StartTime": 1709619600000, "CallDuration": 50, "CallingNumber": "05715550100",
             "CalledNumber": "13812348000", "AgentIds": "zhang@ccc-test,li@ccc-test",
             "ReleaseInitiator": "customer", "InstanceId": "ccc-test"},
            {"ContactId": "job-2", "ContactType": "INBOUND", "ContactDisposition": "AbandonedInQueue",
             "StartTime": 1709620000000, "CallDuration": 12, "CallingNumber": "13812348001",
             "CalledNumber": "05715550100", "AgentIds": "", "ReleaseInitiator": "customer"},
            {"ContactId": "job-3", "ContactType": "OUTBOUND", "ContactDisposition": "Reject",
             "StartTime": 1709621000000, "CallDuration": 0, "CallingNumber": "05715550100",
             "CalledNumber": "13812348002", "AgentIds": "zhang@ccc-test", "ReleaseInitiator": None},
        ),
        {
            "job-1": connected("zhang", "2024-03-05T06:20:00Z", 50_000, 50_000, "138****8000", hangup_by=2),
            "job-2": _call("no_answer", "pbx", "2024-03-05T06:26:40Z", 12_000, 0, "138****8001"),
            "job-3": _call("rejected", "zhang", "2024-03-05T06:43:20Z", 0, 0, "138****8002"),
        },
    ),
    "tencent": Sample(
        "cdr.jsonl",
        _json(
            {"SessionId": "s-1", "Caller": "05715550100", "Callee": "13812348000", "Time": 1709619600,
             "Direction": 1, "Duration": 65, "EndStatusString": "ok", "HungUpSide": "seat",
             "SeatUser": {"UserId": "1001", "Name": "张三", "Mail": "z@example.com"},
             "SkillGroup": "回访", "EndStatus": 1},
            {"SessionId": "s-2", "Caller": "13812348001", "Callee": "05715550100", "Time": 1709620000,
             "Direction": 0, "Duration": 0, "EndStatusString": "waitingGiveUp", "HungUpSide": "user",
             "SeatUser": None, "SkillGroup": "客服"},
            {"SessionId": "s-3", "Caller": "05715550100", "Callee": "13812348002", "Time": 1709621000,
             "Direction": 1, "Duration": 0, "EndStatusString": "powerOff", "HungUpSide": None,
             "SeatUser": {"UserId": "", "Name": "李四", "Mail": ""}, "SkillGroup": "回访"},
        ),
        {
            "s-1": connected("1001", "2024-03-05T06:20:00Z", 65_000, 65_000, "138****8000",
                             hangup_by=1, task_id="回访"),
            "s-2": _call("no_answer", "pbx", "2024-03-05T06:26:40Z", 0, 0, "138****8001",
                         task_id="客服"),
            "s-3": _call("power_off", "李四", "2024-03-05T06:43:20Z", 0, 0, "138****8002",
                         task_id="回访"),
        },
    ),
}  # fmt: skip
