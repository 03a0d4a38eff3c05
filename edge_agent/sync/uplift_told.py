"""A campaign's uplift as people and programs read it, in the store and at HQ alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.uplift import LEVEL, UNITS_MIN

if TYPE_CHECKING:
    from edge_agent.domain.uplift import Effect, Uplift

TITLE: Final = "Uplift: what campaigns with a control group do"
COLUMNS: Final = (
    "treated",
    "control",
    "bought, treated",
    "bought, control",
    "uplift, points",
    "",
    "spend, treated",
    "spend, control",
    "uplift",
    "",
)
NOTE: Final = (
    f"Units are people or time slots; in brackets the {LEVEL:.0%} interval, to be looked at"
    f" any time, for each campaign alone; none under {UNITS_MIN} units an arm or without a sale."
)
# Nobody should act on the difference.
UNBALANCED: Final = "arms do not match the share"
_WORDS: Final = {
    "more": "more",
    "less": "less",
    "unsure": "not sure yet",
    "too_few": "too few yet",
}
_SHARE_DIGITS: Final = 6


def document_of(uplift: Uplift) -> dict[str, Any]:
    """Returns an uplift for programs; figures rounded to what they are told with."""
    return {
        "campaign": uplift.campaign,
        "n_treated": uplift.n_treated,
        "n_control": uplift.n_control,
        "is_balanced": uplift.is_balanced,
        "level": LEVEL,
        "effects": {name: _effect(effect) for name, effect in uplift.effects.items()},
    }


def texts_of(uplift: Uplift) -> tuple[str, ...]:
    """Returns an uplift for people, a text for each of `COLUMNS`."""
    bought, spend = uplift.effects.get("bought"), uplift.effects.get("spend")
    return (
        f"{uplift.n_treated:,}",
        f"{uplift.n_control:,}",
        *_texts(bought, scale=100, unit=" %", is_balanced=uplift.is_balanced),
        *_texts(spend, scale=1, unit="", is_balanced=uplift.is_balanced),
    )


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "treated": round(effect.treated, _SHARE_DIGITS),
        "control": round(effect.control, _SHARE_DIGITS),
        "uplift": round(effect.difference, _SHARE_DIGITS),
        "low": None if effect.low is None else round(effect.low, _SHARE_DIGITS),
        "high": None if effect.high is None else round(effect.high, _SHARE_DIGITS),
        "verdict": effect.verdict,
    }


def _texts(
    effect: Effect | None, *, scale: float, unit: str, is_balanced: bool
) -> tuple[str, str, str, str]:
    if effect is None:
        return "-", "-", "-", "-"
    found = f"{scale * effect.difference:+.2f}"
    if effect.low is not None and effect.high is not None:
        found += f" [{scale * effect.low:+.2f}, {scale * effect.high:+.2f}]"
    return (
        f"{scale * effect.treated:.2f}{unit}",
        f"{scale * effect.control:.2f}{unit}",
        found,
        _WORDS[effect.verdict] if is_balanced else UNBALANCED,
    )
