"""The HTML of the pages: a frame, the words and the first state; the scripts fill it in.

All that is not ours is escaped here, once; the state goes into a data block in which no `<`
survives, so nothing in it can end the block.
"""

from __future__ import annotations

import hashlib
import json
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final

from edge_agent.web.strings import strings

if TYPE_CHECKING:
    from pydantic import JsonValue

_STATIC: Final = resources.files("edge_agent.web") / "static"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "woff2": "font/woff2",
    "svg": "image/svg+xml",
}

_FRAME: Final = """<!doctype html>
<html lang="{lang}" class="{page}-page">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="preload" href="/static/bricolage.woff2" as="font" type="font/woff2" crossorigin>
<link rel="stylesheet" href="/static/base.css">
<link rel="stylesheet" href="/static/{page}.css">
<script type="application/json" id="initial">{initial}</script>
<script src="/static/{page}.js" type="module"></script>
</head>
<body>
{body}
</body>
</html>
"""

_SCREEN_BODY: Final = """<main id="stage" aria-live="polite"></main>
<div id="offline" role="status" hidden></div>"""

_STORE_BODY: Final = """<header class="top">
<a class="mark" href="/"><span class="leaf"></span>{store}</a>
<nav><a href="/"{on_index}>{overview}</a><a href="/store"{on_store}>{dashboard}</a></nav>
<span id="offline" role="status" hidden></span></header>
<main id="board"></main>"""

_STAFF_BODY: Final = """<header class="top">
<a class="mark" href="/"><span class="leaf"></span>{store}</a>
<span class="team">{team}</span><span id="offline" role="status" hidden></span></header>
<main id="alerts" aria-live="polite"></main>"""


def static_files() -> dict[str, tuple[bytes, str]]:
    """Returns every file that the pages load, with its content type."""
    files = {}
    for each in _STATIC.iterdir():
        content_type = _TYPES.get(each.name.rpartition(".")[2])
        if content_type is not None:
            files[each.name] = (each.read_bytes(), content_type)
    return files


def build_id() -> str:
    """Returns this version of the pages; an open page of another one loads itself anew."""
    digest = hashlib.sha256()
    for name, (body, _) in sorted(static_files().items()):
        digest.update(name.encode() + body)
    return digest.hexdigest()[:12]


def screen_page(screen: str, locale: str, initial: dict[str, JsonValue]) -> str:
    """Returns the page of one screen."""
    return _frame("screen", screen, locale, initial, _SCREEN_BODY)


def staff_page(store: str, team: str, locale: str, initial: dict[str, JsonValue]) -> str:
    """Returns the page of one team's handhelds."""
    body = _STAFF_BODY.format(store=escape(store), team=escape(team))
    return _frame("staff", f"{strings(locale)['staff']} · {team}", locale, initial, body)


def store_page(store: str, locale: str, initial: dict[str, JsonValue], *, is_index: bool) -> str:
    """Returns the overview (`/`) or the dashboard (`/store`)."""
    words = strings(locale)
    here = ' aria-current="page"'
    body = _STORE_BODY.format(
        store=escape(store),
        overview=escape(words["overview"]),
        dashboard=escape(words["dashboard"]),
        on_index=here if is_index else "",
        on_store="" if is_index else here,
    )
    return _frame("store", f"{words['store']} · {store}", locale, initial, body)


def _frame(page: str, title: str, locale: str, initial: dict[str, JsonValue], body: str) -> str:
    state = {"words": strings(locale), "locale": locale, **initial}
    return _FRAME.format(
        lang=escape(locale.partition("-")[0]),
        page=page,
        title=escape(title),
        initial=json_block(state),
        body=body,
    )


def json_block(value: object) -> str:
    r"""Returns JSON that may stand inside a script element.

    Example:
        >>> json_block("</script>")
        '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
