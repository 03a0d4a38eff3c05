"""Amounts of money in the smallest units that a currency has."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_PLACES: Final = 2
OTHER_PLACES: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI",
             "VND", "VUV", "XAF", "XOF", "XPF"), 0
        ),
        **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    }
)  # fmt: skip
"""Decimals of the smallest unit where they are not two.

Source: ISO 4217, list one.
"""


def places_of(currency: str) -> int:
    """Returns the decimals of a currency's smallest unit."""
    return OTHER_PLACES.get(currency.upper(), USUAL_PLACES)


def minor_units(amount: Decimal, currency: str) -> int:
    """Returns an amount in whole smallest units, rounded half up as tills do.

    Example:
        >>> minor_units(Decimal("1.29"), "EUR"), minor_units(Decimal("0.335"), "EUR")
        (129, 34)
        >>> minor_units(Decimal("150"), "JPY")
        150
    """
    return int(amount.scaleb(places_of(currency)).to_integral_value(ROUND_HALF_UP))
