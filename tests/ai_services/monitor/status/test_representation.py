import pytest

from ai_services.monitor.status.representation import prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ((), False),
        (("",), False),
        (("*/*",), False),
        (("application/json",), False),
        (("text/html",), True),
        (("TEXT/HTML; charset=utf-8",), True),
        (("text/*",), True),
        ((BROWSER,), True),
        (("text/html, application/json",), False),  # as welcome as the other
        (("application/json;q=0.5", "text/html;q=0.6"), True),
        (("text/html;q=0.5, application/json;q=0.6",), False),
        (("text/html;q=0.1, */*;q=0.2",), False),
        (("text/html; Q=0, text/*",), False),
        (("text/html;level=1;q=0.4, application/*;q=0.3",), True),
        (("image/png",), False),
        (("text/html;q=2",), False),
        (("text/html;q=none",), False),
        (("html",), False),
        (("text/html;" * 5000,), True),
        ((",;/," * 5000,), False),
    ],
)
def test_a_page_is_sent_where_it_is_more_welcome_than_json(
    accept: tuple[str, ...], html: bool
) -> None:
    assert prefers_html(accept) is html
