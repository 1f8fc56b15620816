"""HTML that is escaped by construction: text becomes markup only through `tag`."""

from __future__ import annotations

import html
from typing import Final

_VOID: Final = frozenset({"br", "input", "meta"})


class Html(str):
    """Markup. Any other string is text and gets escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """One element. `class_` and `for_` are `class` and `for`; `data_x` is `data-x`; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    opened = f"<{name}{written}>"
    return Html(opened if name in _VOID else f"{opened}{join(*children)}</{name}>")


def join(*parts: object) -> Html:
    return Html("".join(text(part) for part in parts))
