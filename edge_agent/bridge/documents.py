"""Whether a file is whole: a till may still be writing what has not changed for a while."""

from __future__ import annotations

import json
from typing import Literal

from lxml import etree

Document = Literal["any", "xml", "json"]


def why_not_whole(payload: bytes, document: Document) -> str | None:
    """Returns why a file's bytes are no whole document yet, or None when they are.

    Example:
        >>> why_not_whole(b"<POSLog><Transaction>", "xml")
        'no_whole_xml'
        >>> why_not_whole(b"", "any")
        'empty'
    """
    if not payload:
        return "empty"
    if document == "xml":
        return None if _is_xml(payload) else "no_whole_xml"
    if document == "json":
        return None if _is_json(payload) else "no_whole_json"
    return None


def _is_xml(payload: bytes) -> bool:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        etree.fromstring(payload, parser)
    except (etree.XMLSyntaxError, ValueError):
        return False
    return True


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True
