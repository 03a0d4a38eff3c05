"""Named decoders that a mapping refers to where a table is not enough.

Each takes one value and the mapping's options, and returns a scalar, an object for `select`, or
None when there is nothing to read. Few, each for a public standard rather than one vendor's whim.

Source: Bluetooth Core Specification 5.4, volume 3, part C, 11 (advertising data); Apple, Proximity
Beacon Specification R1; Google, Eddystone protocol specification; Ruuvi data format 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from edge_agent.ingest import epcs, identifiers
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.wire.mapping_part import Scalar

Options = Mapping[str, Scalar]
Decoder = Callable[[Any, Options], Any]

_TEXT_MAX: Final = 1_024
_IBEACON_TEXT: Final = re.compile(
    r"(?:ibeacon[:-])?([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})[-_:./]([0-9]{1,5})[-_:./]([0-9]{1,5})",
    re.IGNORECASE,
)
_MANUFACTURER: Final = 0xFF
_SERVICE_DATA_16: Final = 0x16
_APPLE: Final = 0x004C
_RUUVI: Final = 0x0499
_EDDYSTONE: Final = 0xFEAA
_IBEACON_TYPE: Final = b"\x02\x15"
_IBEACON_SIZE: Final = 23
_RUUVI_5_SIZE: Final = 24
_WORD_MAX: Final = 65_535


def ibeacon(value: Any, _: Options) -> str | None:
    """Returns `ibeacon:<uuid>:<major>:<minor>` from text, an object or advertising data."""
    if isinstance(value, dict):
        return _ibeacon_of(value.get("uuid"), value.get("major"), value.get("minor"))
    if isinstance(value, bytes):
        return ble_advertisement(value, {}).get("ibeacon")
    if not isinstance(value, str):
        return None
    found = _IBEACON_TEXT.fullmatch(value.strip()[:_TEXT_MAX])
    return None if found is None else _ibeacon_of(*found.groups())


def ble_advertisement(value: Any, _: Options) -> dict[str, Any]:
    """Returns what a BLE advertisement holds: iBeacon, Eddystone, Ruuvi; never a name."""
    found: dict[str, Any] = {}
    for kind, data in _structures(_bytes(value)):
        if kind == _MANUFACTURER and len(data) > 2:  # noqa: PLR2004 - company id, then data
            company = int.from_bytes(data[:2], "little")
            found["company"] = company
            found.update(_manufacturer(company, data[2:]))
        elif kind == _SERVICE_DATA_16 and int.from_bytes(data[:2], "little") == _EDDYSTONE:
            found.update(_eddystone(data[2:]))
    return found


def epc(value: Any, _: Options) -> epcs.Parts | None:
    """Returns `id`, and the key and serial number, from hexadecimal, URN or link."""
    if isinstance(value, bytes):
        return epcs.epc(value.hex()) if value else None
    return epcs.epc(value) if isinstance(value, str) else None


def in_store_code(value: Any, options: Options) -> epcs.Parts | None:
    """Returns item and measure of a shop's own barcode; the options are its layouts by prefix."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    layouts = {prefix: str(layout) for prefix, layout in options.items()}
    return identifiers.in_store(str(value), layouts)


def decoder_of(name: str, options: Options) -> Decoder:
    """Returns a decoder by its name, with what it needs loaded.

    Raises:
        ValueError: There is none of that name, or it has no such option.
    """
    if name == "in_store_code" and _REGION in options:
        return _by_region(options)
    if name == "gs1":
        return _gs1()
    if name not in _DECODERS:
        raise ValueError(f"no such decoder; there are {', '.join(sorted(_NAMES))}")
    return _DECODERS[name]


def _gs1() -> Decoder:
    # 16 MiB that mappings without scanned codes spare.
    from edge_agent.ingest.gs1_codes import gs1, is_compressed  # noqa: PLC0415

    def decoded(value: Any, _: Options) -> epcs.Parts | None:
        if not isinstance(value, str):
            return None
        found = gs1(value)
        if found is None and is_compressed(value):
            raise NotConvertible("a compressed Digital Link is not read")
        return found

    return decoded


def _by_region(options: Options) -> Decoder:
    from edge_agent.ingest.gs1_codes import REGIONS, in_store_by_region  # noqa: PLC0415 - as above

    region = str(options[_REGION]).lower()
    if region not in REGIONS:
        raise ValueError(f"no rules for that region; there are {', '.join(REGIONS)}")
    if len(options) > 1:
        raise ValueError("either a region or layouts of your own")
    return lambda value, _: in_store_by_region(str(value), region)


def setting_of_codes(name: str, options: Options) -> str | None:
    """Returns the store's setting that says how its own barcodes are read; None where none does.

    Raises:
        ValueError: What stands beside it cannot be.
    """
    region = str(options.get(_REGION, ""))
    if name != "in_store_code" or not region.startswith(_SETTINGS):
        return None
    if options.keys() - {_REGION, _UNKNOWN} or options.get(_UNKNOWN, "null") not in _UNKNOWNS:
        raise ValueError('beside a region of the settings goes unknown = "null" or "refuse"')
    return region.removeprefix(_SETTINGS)


def by_stores_rules(setting: str, options: Options) -> Callable[[Any, Mapping[str, Any]], Any]:
    """Returns a decoder of the shop's own barcodes that goes by a store's setting.

    Where the store gives none, or its rules have none for the code, it is null or, with
    `unknown = "refuse"`, the reason names the setting.
    """
    is_refused = options.get(_UNKNOWN) == "refuse"

    def decoded(value: Any, settings: Mapping[str, Any]) -> epcs.Parts | None:
        code = identifiers.measured_code(str(value))
        if code is None:
            return None
        rules = settings.get(setting)
        if rules is None or rules == "":
            if is_refused:
                raise NotConvertible(f"{_OWN}: give the store's {setting} in [settings]")
            return None
        found = _in_store(code, str(rules), setting)
        if found is None and is_refused:
            raise NotConvertible(f"{_OWN}, and the rules of {setting} do not read it")
        return found

    return decoded


def _in_store(code: str, rules: str, setting: str) -> epcs.Parts | None:
    read = identifiers.rules_of(rules)
    if read is None:
        raise NotConvertible(f"the store's {setting}: {identifiers.RULES_WANTED}")
    if not isinstance(read, str):
        return identifiers.in_store(code, dict(read))
    from edge_agent.ingest.gs1_codes import in_store_by_region  # noqa: PLC0415 - as above

    return in_store_by_region(code, read)


_REGION: Final = "region"
_UNKNOWN: Final = "unknown"
_UNKNOWNS: Final = frozenset({"null", "refuse"})
_SETTINGS: Final = "$settings."
_OWN: Final = "a price or weight code of the shop's own"
_DECODERS: Final[Mapping[str, Decoder]] = MappingProxyType(
    {
        "ibeacon": ibeacon,
        "ble_advertisement": ble_advertisement,
        "epc": epc,
        "in_store_code": in_store_code,
    }
)
_NAMES: Final = (*_DECODERS, "gs1")


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value[:_TEXT_MAX]
    if not isinstance(value, str):
        return b""
    try:
        return bytes.fromhex(value.strip().removeprefix("0x")[: 2 * _TEXT_MAX])
    except ValueError:
        return b""


def _structures(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 1 < len(data) and data[at]:
        size = data[at]
        found.append((data[at + 1], data[at + 2 : at + 1 + size]))
        at += 1 + size
    return found


def _manufacturer(company: int, data: bytes) -> dict[str, Any]:
    if company == _APPLE and data[:2] == _IBEACON_TYPE and len(data) >= _IBEACON_SIZE:
        major, minor = int.from_bytes(data[18:20], "big"), int.from_bytes(data[20:22], "big")
        return {
            "ibeacon": identifiers.ibeacon_id(data[2:18].hex(), major, minor),
            "tx_power": int.from_bytes(data[22:23], "big", signed=True),
        }
    if company == _RUUVI and len(data) >= _RUUVI_5_SIZE and data[0] == 5:  # noqa: PLR2004 - format 5
        return {"ruuvi": _ruuvi_5(data), "mac": identifiers.mac(data[18:24].hex())}
    return {}


def _eddystone(data: bytes) -> dict[str, Any]:
    # Frame type 0x00 is UID: power, ten bytes of namespace, six of instance.
    if len(data) < 18 or data[0] != 0:  # noqa: PLR2004 - UID frame
        return {}
    namespace, instance = data[2:12].hex(), data[12:18].hex()
    return {"eddystone": f"eddystone:{namespace}:{instance}"}


def _ruuvi_5(data: bytes) -> dict[str, Any]:
    power = int.from_bytes(data[13:15], "big")
    return {
        "temperature_c": int.from_bytes(data[1:3], "big", signed=True) / 200,
        "humidity_pct": int.from_bytes(data[3:5], "big") / 400,
        "pressure_pa": int.from_bytes(data[5:7], "big") + 50_000,
        "acceleration_x_mg": int.from_bytes(data[7:9], "big", signed=True),
        "acceleration_y_mg": int.from_bytes(data[9:11], "big", signed=True),
        "acceleration_z_mg": int.from_bytes(data[11:13], "big", signed=True),
        "battery_mv": (power >> 5) + 1_600,
        "tx_power_dbm": (power & 0x1F) * 2 - 40,
        "movement": data[15],
        "sequence": int.from_bytes(data[16:18], "big"),
    }


def _ibeacon_of(uuid: Any, major: Any, minor: Any) -> str | None:
    try:
        numbers = [int(str(each)) for each in (major, minor)]
    except ValueError:
        return None
    if not isinstance(uuid, str) or not all(0 <= each <= _WORD_MAX for each in numbers):
        return None
    return identifiers.ibeacon_id(uuid, *numbers)
