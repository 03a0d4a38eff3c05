"""Answers that are remembered by identity: never another value's, and never too many."""

from __future__ import annotations

from edge_agent.domain.identity import once_each


def test_the_same_object_is_asked_about_once() -> None:
    """A second question is answered with what the first one gave."""
    asked: list[tuple[str, ...]] = []

    @once_each(4)
    def length(words: tuple[str, ...]) -> int:
        asked.append(words)
        return len(words)

    words = ("milk", "bread")
    assert [length(words), length(words)] == [2, 2]
    assert asked == [words]


def test_an_identity_that_is_used_again_gets_no_answer_of_another() -> None:
    """Values that nobody else holds come and go in the same memory: each gets its own answer."""

    @once_each(4)
    def doubled(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return numbers + numbers

    assert all(doubled(tuple(range(n, n + 1))) == (n, n) for n in range(1_000))


def test_no_more_answers_are_kept_than_were_allowed() -> None:
    """The values and answers of a long day are let go of."""
    n_asked = 0

    @once_each(2)
    def size(words: tuple[str, ...]) -> int:
        nonlocal n_asked
        n_asked += 1
        return len(words)

    first, second, third = ("a",), ("b", "b"), ("c", "c", "c")
    assert [size(each) for each in (first, second, third, first)] == [1, 2, 3, 1]
    assert n_asked == 4
