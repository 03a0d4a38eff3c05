"""Who stands at the screen or till: does what is asked, and says what no message tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

# `None`: nobody is there to ask.
Answer = Literal["yes", "no"] | None


def nothing() -> None:
    """Does nothing meanwhile."""


class Person(Protocol):
    """Somebody at the device under test, or nobody."""

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        ...

    def note(self, text: str) -> None:
        """Is told what is going on."""
        ...

    def does(self, task: str, text: str, *, meanwhile: Callable[[], None] = nothing) -> Answer:
        """Is asked to do something; `yes` once it is done, `no` when it cannot be done here.

        Args:
            task: Its short name.
            text: What to do, in a sentence.
            meanwhile: Called again and again until there is an answer.
        """
        ...

    def sees(self, question: str, text: str) -> Answer:
        """Is asked what is to be seen.

        Args:
            question: Its short name.
            text: A question that is answered by yes or no.
        """
        ...


class Nobody:
    """Nobody is there: nothing is done and nothing seen."""

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        return False

    def note(self, text: str) -> None:
        """Hears nothing."""

    def does(
        self,
        task: str,  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        *,
        meanwhile: Callable[[], None] = nothing,  # noqa: ARG002 - the protocol's
    ) -> Answer:
        """Does nothing."""
        return None

    def sees(self, question: str, text: str) -> Answer:  # noqa: ARG002 - the protocol's
        """Sees nothing."""
        return None
