"""Bytes or text of a payload become a document, within bounds, or are refused with a reason.

JSON, XML, form fields, CSV, JSON lines, bare text and bytes; base64 and hexadecimal inside of
those. Nothing here expands an entity, follows a reference or goes deeper than 256
levels.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from lxml import etree
from pydantic_core import from_json

from edge_agent.ingest.csv_tables import BadLine, NotLines, TooManyLines, table_of
from edge_agent.wire.mapping import Packing
from edge_agent.wire.mapping_csv import PLAIN_CSV, Csv

ROWS_MAX: Final = 5_000
NODES_MAX: Final = 50_000
FIELDS_MAX: Final = 1_000
_BOM: Final = b"\xef\xbb\xbf"
_PERCENT_PARTS: Final = 2
_QUALIFIED: Final = etree.XPath("//*[@*[namespace-uri()]]")


class Unreadable(ValueError):
    """A payload that cannot be read; `reason` is one of the refusals' words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _no_bad_line(number: int, detail: str) -> None:
    raise Unreadable("not_csv", f"line {number}: {detail}")


def document_of(  # noqa: C901, PLR0911 - one line for each form
    payload: bytes,
    packing: Packing,
    *,
    delimiter: str = ",",
    lines: Csv = PLAIN_CSV,
    bad_line: BadLine = _no_bad_line,
) -> Any:
    """Returns the document in a payload: dict, list, text, number, or an XML element.

    Args:
        payload: Its bytes.
        packing: How they are to be read.
        delimiter: Between the columns of CSV.
        lines: How the lines of CSV are laid out.
        bad_line: Called for a line of CSV that belongs to nothing; by default it spoils all.

    Raises:
        Unreadable: It is not what it should be, or too deep, or too much.
    """
    match packing:
        case "json":
            return _json(payload)
        case "xml":
            return _xml(payload)
        case "form":
            return _form(_text(payload))
        case "csv":
            text = _text(payload, lines.encoding)
            return _csv(text, lines, delimiter=delimiter, bad_line=bad_line)
        case "json_lines":
            told = [line for line in payload.splitlines() if line.strip()]
            if len(told) > ROWS_MAX:
                raise Unreadable("too_large", f"more than {ROWS_MAX} lines")
            return [_json(line) for line in told]
        case "text":
            return _text(payload).strip()
        case "bytes":
            return payload
        case "base64" | "hex":
            return unpacked(_text(payload), packing)


def unpacked(text: Any, packing: Packing, *, delimiter: str = ",", lines: Csv = PLAIN_CSV) -> Any:
    """Returns what is packed into a text or bytes: base64 and hex give bytes, others documents.

    An object or array where JSON is expected has been read already: the same sender may write
    both.
    """
    if packing == "json" and isinstance(text, (dict, list)):
        return text
    if packing == "base64":
        return _base64(text)
    if packing == "hex":
        return _hex(text)
    if packing == "csv" and isinstance(text, str):
        return _csv(text, lines, delimiter=delimiter, bad_line=_no_bad_line)
    data = text if isinstance(text, bytes) else str(text).encode()
    return document_of(data, packing, delimiter=delimiter, lines=lines)


def _json(payload: bytes) -> Any:
    if payload.startswith(_BOM):
        payload = payload[3:]
    try:
        return from_json(payload, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if "recursion" in str(error):
            raise Unreadable("too_deep", "nested too deep") from None
        _text(payload)
        # The parser's sentence names a place, never a value.
        raise Unreadable("not_json", f"not JSON: {str(error)[:120]}") from None


def _text(payload: bytes, encoding: str = "utf-8") -> str:
    try:
        return payload.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise Unreadable("not_utf8", f"not {encoding.upper()}") from None


def _xml(payload: bytes) -> Any:
    # A document type is where entities are declared; no device needs one.
    if b"<!DOCTYPE" in payload or b"<!ENTITY" in payload:
        raise Unreadable("not_xml", "an XML document type is not taken")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(payload.strip(), parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        reason = "too_deep" if "depth" in str(error) else "not_xml"
        raise Unreadable(reason, f"not XML: line {getattr(error, 'lineno', 0) or 0}") from None
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise Unreadable("not_xml", "an XML document type is not taken")
    return _without_namespaces(root)


def _without_namespaces(root: Any) -> Any:
    # Prefixes differ from sender to sender; the local names are what the vendor documents.
    for count, element in enumerate(root.iter()):
        if count > NODES_MAX:
            raise Unreadable("too_large", f"more than {NODES_MAX} elements")
        tag = element.tag
        if isinstance(tag, str) and tag[0] == "{":
            element.tag = tag.rpartition("}")[2]
    qualified: Any = _QUALIFIED(root)
    for element in qualified:
        for name in [name for name in element.attrib if name[0] == "{"]:
            value = element.attrib.pop(name)
            local = name.rpartition("}")[2]
            if local not in element.attrib:
                element.attrib[local] = value
    return root


def _form(text: str) -> dict[str, str]:
    pairs = text.strip().split("&")
    if len(pairs) > FIELDS_MAX:
        raise Unreadable("too_large", f"more than {FIELDS_MAX} fields")
    if "=" not in text:
        raise Unreadable("not_form", "no form fields")
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        found.setdefault(_form_text(name), _form_text(value))
    return found


def _form_text(text: str) -> str:
    return percent_decoded(text.replace("+", " "))


def percent_decoded(text: str) -> str:
    """Returns a text whose characters may be written as a percent sign and two digits.

    Raises:
        Unreadable: What is written so is not UTF-8.
    """
    if "%" not in text:
        return text
    first, *parts = text.split("%")
    data = [first.encode()]
    for part in parts:
        try:
            data += [bytes.fromhex(part[:_PERCENT_PARTS]), part[_PERCENT_PARTS:].encode()]
        except ValueError:
            data.append(b"%" + part.encode())
    try:
        return b"".join(data).decode()
    except UnicodeDecodeError:
        raise Unreadable("not_utf8", "what stands after % is not UTF-8") from None


def _csv(text: str, lines: Csv, *, delimiter: str, bad_line: BadLine) -> Any:
    try:
        return table_of(text, lines, delimiter=delimiter, bad_line=bad_line)
    except TooManyLines as error:
        raise Unreadable("too_large", str(error)) from None
    except NotLines as error:
        raise Unreadable("not_csv", str(error)) from None


def _base64(text: Any) -> bytes:
    data = text if isinstance(text, bytes) else str(text).strip().encode("ascii", "replace")
    data = data.translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("not_base64", "not base64") from None


def _hex(text: Any) -> bytes:
    data = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text).strip()
    try:
        return bytes.fromhex(data.removeprefix("0x").replace(":", ""))
    except ValueError:
        raise Unreadable("not_hex", "not hexadecimal") from None
