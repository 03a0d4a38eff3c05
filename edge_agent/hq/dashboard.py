"""HQ's page: the report's tables with bars, made on the server, without scripts.

The page loads nothing from anywhere, and listens on loopback only: a chain puts its own proxy with
its own log-in before it. Every text from a store is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
import signal
import socket
from html import escape
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from edge_agent.errors import BrokerError
from edge_agent.hq.gateway_report import device_table, gateway_table
from edge_agent.hq.report import (
    Comparison,
    Report,
    as_json,
    comparisons,
    report_from,
)
from edge_agent.hq.store import HqStore
from edge_agent.hq.uplift_report import uplift_json, uplift_table

LOOPBACK: Final = "127.0.0.1"
REFRESH_S: Final = 30
BAR_WIDTH: Final = 120
_FILTER: Final = re.compile(r"[^\x00-\x1f]{0,128}")

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5;
  --bar: #2b6cb0; --page: #f6f7f9; --card: #fff; --look: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #9aa6b5; --line: #333c48;
  --bar: #63b3ed; --page: #14181e; --card: #1c222a; --look: #ff8a80 } }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page);
  margin: 0 auto; padding: 24px; max-width: 1200px }
h1 { font-size: 26px; margin: 0 0 4px }
h2 { font-size: 18px; margin: 0 0 8px }
p { color: var(--soft); margin: 4px 0 16px }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 16px; margin: 0 0 16px; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; color: var(--soft) }
tr:last-child td { border-bottom: 0 }
th.text, td.text { text-align: left }
td.text:not(:first-child) { white-space: normal; overflow-wrap: break-word; max-width: 20em }
tr.look td:nth-child(-n+3) { color: var(--look); font-weight: 600 }
section p { margin: 8px 0 0 }
td.bar { width: 130px; padding-right: 0 }
rect { fill: var(--bar) }
form { display: flex; gap: 12px; flex-wrap: wrap; margin: 0 0 16px }
input, button { font: inherit; padding: 4px 8px }
.empty { padding: 32px; text-align: center }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def dashboard_app(hq: HqStore) -> Starlette:
    """Returns the pages `/` and `/report.json`, both with `?store=` and `?day=`."""

    def page(request: Request) -> Response:
        return HTMLResponse(page_html(_report(hq, request)), headers=_HEADERS)

    def figures(request: Request) -> Response:
        found = _report(hq, request)
        document = {**as_json(found), "uplift": uplift_json(found)}
        return JSONResponse(document, headers=_HEADERS)

    return Starlette(
        routes=[Route("/", page), Route("/report.json", figures)],
        # A foreign site must not reach a loopback page by a name of its own.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
    )


class DashboardServer:
    """The dashboard on a loopback port, bound at once so that its address is known.

    Raises:
        BrokerError: The port is taken.
    """

    def __init__(self, hq: HqStore, *, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            raise BrokerError(
                f"port {port} is taken", hint="give another with --port; 0 finds one"
            ) from error
        config = uvicorn.Config(dashboard_app(hq), log_level="warning", access_log=False)
        self._server = uvicorn.Server(config)
        self.url = f"http://{LOOPBACK}:{self._socket.getsockname()[1]}/"

    def serve(self) -> None:
        """Serves until SIGINT or SIGTERM; call it in the main thread."""
        # uvicorn raises the signal again when it has ended, which would end us with its number.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda _number, _frame: self._end())
        with self._socket:
            self._server.run(sockets=[self._socket])

    def _end(self) -> None:
        self._server.should_exit = True


def page_html(report: Report) -> str:
    """Returns the whole page."""
    found = [gateway_table(report), device_table(report), *comparisons(report)]
    campaigns = uplift_table(report)
    if campaigns.rows:
        found.append(campaigns)
    tables = "".join(_section(each) for each in found)
    if report.is_empty:
        tables = '<section class="empty">No store has sent anything that matches.</section>'
    refused = ", ".join(f"{escape(str(row['reason']))}: {row['n']}" for row in report.refused)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>HQ: stores compared</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_S}"><style>{_STYLE}</style></head><body>
<h1>Stores compared</h1>
<p>Sums of what the stores sent: no single visitor, no cell below the store's smallest group.
Who stays from one hour into the next counts in both.</p>
<form><label>Store <input name="store" value="{escape(report.store)}"></label>
<label>Day <input name="day" type="date" value="{escape(report.day)}"></label>
<button>Show</button></form>
{tables}
<p>Refused messages: {refused or "none"}</p>
</body></html>"""


def _section(table: Comparison) -> str:
    heads = _cells("th", (table.first_column, *table.columns), n_texts=table.n_texts + 1)
    bar_head = "<th></th>" if table.shares else ""
    rows = "".join(_row(table, index) for index in range(len(table.rows)))
    if not table.rows:
        rows = f'<tr><td colspan="{len(table.columns) + 1}">none</td></tr>'
    more = f"<p>{table.n_more} smaller ones are not shown.</p>" if table.n_more else ""
    more += f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<section><h2>{escape(table.title)}</h2><table><thead><tr>{heads}{bar_head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{more}</section>"
    )


def _row(table: Comparison, index: int) -> str:
    name, texts = table.rows[index]
    mark = ' class="look"' if index in table.marked else ""
    cells = _cells("td", (name, *texts), n_texts=table.n_texts + 1)
    return f"<tr{mark}>{cells}{_bar(table, index)}</tr>"


def _cells(tag: str, texts: tuple[str, ...], *, n_texts: int) -> str:
    kinds = (' class="text"' if number < n_texts else "" for number in range(len(texts)))
    return "".join(
        f"<{tag}{kind}>{escape(each)}</{tag}>" for kind, each in zip(kinds, texts, strict=True)
    )


def _bar(table: Comparison, index: int) -> str:
    if not table.shares:
        return ""
    width = round(table.shares[index] * BAR_WIDTH)
    return (
        f'<td class="bar"><svg width="{BAR_WIDTH}" height="12" role="img" '
        f'aria-label="{table.shares[index]:.0%} of the largest">'
        f'<rect width="{width}" height="12" rx="2"/></svg></td>'
    )


def _report(hq: HqStore, request: Request) -> Report:
    store, day = (request.query_params.get(name, "") for name in ("store", "day"))
    if not (_FILTER.fullmatch(store) and _FILTER.fullmatch(day)):
        store = day = ""
    return report_from(hq, store=store, day=day)
