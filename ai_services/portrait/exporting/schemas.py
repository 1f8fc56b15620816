"""What is asked of an export. Its answer is a file."""

from pydantic import Field

from ai_services.portrait.exporting.writers import Format
from ai_services.portrait.period import PeriodType
from ai_services.portrait.schemas import In, PeriodKey


class ExportQuery(In):
    dimension: str = Field("users", max_length=40, description="users, customers")
    period_type: PeriodType = "month"
    period_key: PeriodKey | None = Field(None, description="unset = the newest with calls")
    format: Format = "csv"
