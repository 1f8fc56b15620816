"""What is asked of pictures. Their answers are files."""

from typing import Literal

from pydantic import Field

from ai_services.portrait.period import PeriodType
from ai_services.portrait.pictures.pictures import CHARTS
from ai_services.portrait.pictures.words import Lang
from ai_services.portrait.schemas import In, PortraitQuery


class PngQuery(In):
    metric: str = Field(max_length=100, json_schema_extra={"enum": list(CHARTS)})
    period_type: PeriodType = "week"
    limit: int = Field(12, ge=1, le=120, description="at most this many periods; not of hours")


class SvgQuery(PngQuery):
    lang: Lang = "en"


class ReportQuery(PortraitQuery):
    format: Literal["html", "pdf"] = "html"
    lang: Lang = "zh"

    @property
    def media_type(self) -> str:
        return "application/pdf" if self.format == "pdf" else "text/html; charset=utf-8"
