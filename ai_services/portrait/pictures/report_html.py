"""Reports as one HTML file: nothing is fetched, no script; every chart has its values as a table."""

from __future__ import annotations

from html import escape
from typing import Final

from ai_services.portrait.pictures.drawing import Drawing
from ai_services.portrait.pictures.report import Report, Table
from ai_services.portrait.pictures.svg import svg

# What a browser may do with it, wherever it lies.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
body{font:14px/1.5 system-ui,'Noto Sans CJK SC','Microsoft YaHei','PingFang SC',sans-serif;color:#122a4c;
max-width:760px;margin:24px auto;padding:0 16px}
h1{font-size:22px;margin:0}h2{font-size:15px;margin:20px 0 4px}
table{border-collapse:collapse;width:100%}th,td{padding:3px 8px;border-bottom:1px solid #c5ccd6;text-align:right}
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}
@media print{details{display:none}body{margin:0}figure{break-inside:avoid}}
figure{margin:16px 0}
"""


def html(report: Report) -> str:
    """A document of its own."""
    lang = "zh-CN" if report.lang == "zh" else "en"
    figures = "\n".join(
        _figure(drawing, number) for number, drawing in enumerate(report.drawings, 1)
    )
    return f"""<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(report.title)}</h1>
<p>{"<br>".join(map(escape, report.lines))}</p>
{"".join(map(_table, report.tables))}
{figures}
</body>
</html>
"""


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table.rows
    )
    return f"<h2>{escape(table.title)}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"


def _figure(drawing: Drawing, number: int) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in drawing.rows
    )
    return (
        f"<figure>\n{svg(drawing, name=f'chart{number}')}"
        f"<details><summary>{escape(drawing.title)}</summary><table>{rows}</table></details>\n</figure>"
    )
