"""All that is held of a person as one page to read and to print: no script, nothing from outside.

Every value is escaped: names of zones and products, and what devices said, come from elsewhere.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import tzinfo

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; border-top: 1px solid #999; padding-top: .8rem; }
p { margin: .3rem 0; max-width: 46rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0 .8rem;
  font-size: .9rem; }
dt { color: #555; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
th { color: #555; font-weight: 600; overflow-wrap: normal; }
ul { margin: 0; padding-left: 1rem; }
.none { color: #555; font-style: italic; }
.note { border-left: 4px solid #b45309; padding-left: .8rem; }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; }
}
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page_of(held: dict[str, Any], *, zone: tzinfo) -> str:
    """Returns the page.

    Args:
        held: The document that the agent answers with.
        zone: The store's time, in which the page tells instants.
    """
    made = _instant(held["made_at"], zone)
    note = (
        '<p class="note">At your wish none of this is used at present.</p>'
        if held["is_restricted"]
        else ""
    )
    sections = "".join(_section(each, zone) for each in held["sections"])
    others = "".join(f"<li>{escape(each)}</li>" for each in held["not_here"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
        f"<title>What this store holds about you</title><style>{_STYLE}</style></head><body>"
        f"<h1>What this store holds about you</h1>"
        f"<p>Store {escape(str(held['store']))}, {escape(made)}. Times are the store's"
        f" ({escape(str(zone))}).</p>{note}{sections}"
        f"<h2>What is not in here</h2><ul>{others}</ul></body></html>\n"
    )


def _section(section: dict[str, Any], zone: tzinfo) -> str:
    facts = {
        "Why": section["why"],
        "Basis": section["basis"],
        "Kept": f"{section['kept_days']} days, counted from: {section['kept_from']}",
    }
    told = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    body = _table(section["rows"], zone)
    return f"<section><h2>{escape(section['title'])}</h2><dl>{told}</dl>{body}</section>"


def _table(rows: list[dict[str, Any]], zone: tzinfo) -> str:
    if not rows:
        return '<p class="none">Nothing.</p>'
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f'<th scope="col">{escape(_words(name))}</th>' for name in names)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name), zone)}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(value: Any, zone: tzinfo) -> str:
    match value:
        case None | "" | []:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return "<ul>" + "".join(f"<li>{_cell(each, zone)}</li>" for each in value) + "</ul>"
        case dict():
            parts = ((name, _cell(each, zone)) for name, each in value.items())
            return ", ".join(f"{escape(_words(name))} {text}" for name, text in parts if text)
        case _:
            return escape(_instant(str(value), zone))


def _instant(text: str, zone: tzinfo) -> str:
    """Returns an instant in the store's time; any other text as it is."""
    if not text.endswith("Z"):
        return text
    try:
        return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def _words(name: str) -> str:
    return name.replace("_", " ")
