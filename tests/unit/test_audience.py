"""Who may see an answer before so many people, and what several people hold together."""

from __future__ import annotations

import pytest

from edge_agent.decide.audience import (
    audience_before,
    company_document,
    company_from,
    held_together,
)
from edge_agent.domain.decisions import Company
from edge_agent.domain.ids import ProductId


def held(*words: str) -> tuple[tuple[ProductId, ...], ...]:
    """Returns what each of several people holds, a letter a product."""
    return tuple(tuple(map(ProductId, word)) for word in words)


@pytest.mark.parametrize(
    ("audience", "n_people", "seen_by"),
    [
        ("public", 0, "public"),
        ("public", 1, "public"),
        ("semi_private", 0, "public"),
        ("semi_private", 1, "semi_private"),
        ("semi_private", 2, "public"),
        ("private", 0, "private"),
        ("private", 7, "private"),
    ],
)
def test_a_semi_private_screen_is_one_persons_or_everybodys(
    audience: str, n_people: int, seen_by: str
) -> None:
    """Alone it is his; with nobody or with several before it, it is public."""
    assert audience_before(audience, n_people) == seen_by


@pytest.mark.parametrize(
    ("people", "together"),
    [
        ((), ""),
        (("abc",), "abc"),
        (("abc", ""), "abc"),
        (("abcd", "x"), "abcdx"),
        (("ab", "xy"), "axby"),
        (("ab", "ba"), "ba"),
        (("", ""), ""),
    ],
)
def test_people_take_turns_from_the_newest_thing_on(
    people: tuple[str, ...], together: str
) -> None:
    """Who came last has the last word; each thing counts once, where it is newest."""
    assert "".join(held_together(held(*people))) == together


@pytest.mark.parametrize("people", [(), ("ab", ""), ("", "")])
def test_a_company_comes_back_from_its_record(people: tuple[str, ...]) -> None:
    """What is written is what is read."""
    company = Company(audience="semi_private", n_people=3, mode="mixed", held=held(*people))
    assert company_from(company_document(company)) == company
