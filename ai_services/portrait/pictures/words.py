"""What pictures and reports say, in Chinese and in English."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

from ai_services.portrait.metrics import RATES, Value
from ai_services.portrait.period import Period, PeriodType

Lang = Literal["zh", "en"]

_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total_calls": "通话总数", "connected_calls": "接通数", "connect_rate": "接通率",
        "total_duration": "通话总时长", "avg_duration": "平均通话时长",
        "total_rounds": "总对话轮次", "avg_rounds": "平均对话轮次",
        "level_a_count": "A级意向", "level_b_count": "B级意向", "level_c_count": "C级意向",
        "level_d_count": "D级意向", "level_e_count": "E级意向", "level_f_count": "F级意向",
        "robot_hangup_count": "机器人挂断", "user_hangup_count": "客户挂断",
        "positive_count": "正面情绪", "neutral_count": "中性情绪", "negative_count": "负面情绪",
        "high_complaint_risk": "高投诉风险", "medium_complaint_risk": "中投诉风险",
        "low_complaint_risk": "低投诉风险", "high_churn_risk": "高流失风险",
        "medium_churn_risk": "中流失风险", "low_churn_risk": "低流失风险",
        "avg_sentiment_score": "平均情绪分", "positive_rate": "正面率", "neutral_rate": "中性率",
        "negative_rate": "负面率", "high_complaint_rate": "高投诉风险率",
        "high_churn_rate": "高流失风险率",
        "hours": "按星期与小时的通话", "seconds": "秒", "calls": "次", "rounds": "轮", "score": "分",
        "report": "画像报告", "period": "周期", "as of": "数据截至", "metric": "指标", "value": "本期",
        "before": "上期", "change": "变化", "p value": "p 值", "topics": "主要话题",
        "reasons": "投诉原因", "no calls": "无通话", "user": "账号", "customer": "客户", "task": "任务",
        "agent": "坐席", "organisation": "全部账号", "median": "通话时长中位数",
        "ninetieth": "通话时长九成位", "answer rate": "接通", "none": "无",
    }
)  # fmt: skip
_EN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "avg_duration": "Average duration", "avg_rounds": "Average turns", "total_rounds": "Turns",
        "avg_sentiment_score": "Average sentiment score", "hours": "Calls by weekday and hour",
        "seconds": "s", "rounds": "turns", "as of": "as of", "report": "Portrait report",
        "p value": "p", "organisation": "all accounts", "median": "Median duration",
        "ninetieth": "90th percentile of duration", "value": "now", "reasons": "Complaint reasons",
        "topics": "Topics", "metric": "Metric",
    }
)  # fmt: skip
_WEEKDAYS: Final[Mapping[Lang, tuple[str, ...]]] = MappingProxyType(
    {
        "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
        "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    }
)
_TYPES: Final[Mapping[PeriodType, str]] = MappingProxyType(
    {"week": "周", "month": "月", "quarter": "季度"}
)
_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total_duration": "seconds", "avg_duration": "seconds", "total_rounds": "rounds",
        "avg_rounds": "rounds", "avg_sentiment_score": "score", "p50_duration": "seconds",
    }
)  # fmt: skip


def word(name: str, lang: Lang) -> str:
    """Of a metric or of what stands in a report; a name without a word of its own is written out."""
    if lang == "zh":
        return _ZH.get(name, name)
    plain = name.removesuffix("_count").replace("_", " ")
    return _EN.get(name) or (plain[:1].upper() + plain[1:] if "_" in name else plain)


def unit(metric: str, lang: Lang) -> str:
    """What a metric is counted in."""
    return "%" if metric in RATES else word(_UNITS.get(metric, "calls"), lang)


def shown(metric: str, value: Value) -> str:
    """A value as it is read: rates in percent."""
    if value is None:
        return "–"
    if metric in RATES:
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def by(period_type: PeriodType, lang: Lang) -> str:
    """How a trend runs: 按周, by week."""
    return f"按{_TYPES[period_type]}" if lang == "zh" else f"by {period_type}"


def label(period: Period, lang: Lang) -> str:
    return period.label if lang == "zh" else period.key


def weekdays(lang: Lang) -> tuple[str, ...]:
    return _WEEKDAYS[lang]


def moment(at: datetime | None) -> str:
    return "–" if at is None else at.isoformat(" ", "minutes")
