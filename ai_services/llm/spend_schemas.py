"""Wire types of budgets and costs. Money is a decimal string in the currency of the prices."""

import datetime as dt
import re
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from ai_services.llm.spend.budget_store import Budget
from ai_services.llm.spend.costs import Costs
from ai_services.llm.spend.costs_store import GroupBy, Sums
from ai_services.llm.spend.ledger_store import BudgetPeriod, SubjectKind
from shared.ids import one_spelling
from shared.instant import Day

_AMOUNT: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,8})?")


def _amount(value: Any) -> Decimal:
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    raise PydanticCustomError(
        "no_amount",
        "is no amount of money",
        {"fix": 'send a decimal string of at most 10 digits and 8 places, e.g. "25.00"'},
    )


AmountIn = Annotated[
    Decimal,
    BeforeValidator(_amount, json_schema_input_type=str),
    Field(examples=["25.00"]),
]
Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:.8f}", return_type=str)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class BudgetIn(_In):
    """The one budget of a subject and period."""

    subject_kind: SubjectKind
    subject: Annotated[str, Field(max_length=300), AfterValidator(one_spelling)] = Field(
        "", description="id of the key or user, name of the purpose; of the organisation: left out"
    )
    period: BudgetPeriod = Field(description="local days, ISO weeks and months; total never renews")
    amount: AmountIn
    hard: bool = Field(
        True, description="refuse what it can't hold (402); else only tell at 50, 80 and 100 %"
    )


class BudgetOut(_Out):
    budget_id: UUID
    subject_kind: SubjectKind
    subject: str
    period: BudgetPeriod
    amount: Money
    hard: bool
    spent: Money = Field(description="in the current window")
    reserved: Money = Field(description="by requests under way: the most that they may cost")
    left: Money = Field(description="neither spent nor reserved; below 0 if it was lowered")
    first_day: dt.date = Field(description="of the current window")
    renews_at: dt.datetime | None = Field(description="null: never")
    updated_at: dt.datetime

    @classmethod
    def of(cls, budget: Budget) -> Self:
        return cls.model_validate(budget)


class BudgetsOut(BaseModel):
    budgets: list[BudgetOut]


class CostsQuery(_In):
    group_by: GroupBy = "day"
    first: Day | None = Field(None, alias="from", description="unset = 30 days with `to`")
    last: Day | None = Field(None, alias="to", description="included; unset = today")
    limit: int = Field(100, ge=1, le=1000, description="groups; by day and in CSV all are shown")
    format: Literal["json", "csv"] = "json"


class SumsOut(_Out):
    attempts: int
    input_tokens: int = Field(validation_alias="input")
    output_tokens: int = Field(validation_alias="output")
    cached_tokens: int = Field(validation_alias="cached", description="part of the input")
    reasoning_tokens: int = Field(validation_alias="reasoning", description="part of the output")
    cost: Money
    reserved: Money = Field(description="by attempts under way")
    outcomes: dict[str, int] = Field(description="attempts by outcome; reserved: under way")


class GroupOut(SumsOut):
    key: str = Field(description="empty: by nobody of this kind")


class CostsOut(BaseModel):
    group_by: GroupBy
    first_day: dt.date
    last_day: dt.date = Field(description="included")
    total: SumsOut
    groups: int = Field(description="how many there are; `items` shows the costliest")
    items: list[GroupOut]

    @classmethod
    def of(cls, found: Costs, limit: int) -> Self:
        shown = found.groups if found.group_by == "day" else found.groups[:limit]
        return cls(
            group_by=found.group_by,
            first_day=found.first,
            last_day=found.last,
            total=SumsOut.model_validate(found.total),
            groups=len(found.groups),
            items=[_group(key, sums) for key, sums in shown],
        )


def _group(key: str, sums: Sums) -> GroupOut:
    return GroupOut.model_validate({"key": key, **asdict(sums)})
