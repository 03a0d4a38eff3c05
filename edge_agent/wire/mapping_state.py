"""What a mapping compares with the messages before: totals, levels, pairs and repeats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edge_agent.wire.mapping_part import (
    Conditions,
    Expression,
    Part,
    Scalar,
    Seconds,
    one_or_more,
)


class Delta(Part):
    """A running total becomes what was added since the message before.

    Attributes:
        key: Tells this counter from others of the same device; a template.
        wrap: The count at which the device starts again at 0, such as 65536.
        marker: A value that changes when the device was reset, such as its start time.
        max_step: A larger step is a fault of the device: a new baseline, nothing counted.
        first: What the first total is: a baseline, or already a count.
        missing: Whether a total that was told before and is not there now is a fault; one that is
            there and null always is.
    """

    key: Expression | None = None
    wrap: Annotated[int, Field(gt=1)] | None = None
    marker: Expression | None = None
    max_step: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    first: Literal["baseline", "count"] = "baseline"
    missing: Literal["quiet", "refuse"] = "quiet"


class Change(Part):
    """A level or state that is sent again and again becomes an event when it changes.

    Attributes:
        key: Tells this level from others of the same device; a template.
        only: Values that are worth an event; all when absent.
        initial: What the level is taken to be before the first message.
        first: Whether the first message, without `initial`, is an event.
        rearm_s: After so long without a message the state is `initial` again.
        band: A number has changed when it moved by at least this much.
    """

    key: Expression | None = None
    only: Annotated[tuple[Scalar, ...], BeforeValidator(one_or_more)] | None = None
    initial: Scalar | None = None
    first: Literal["emit", "quiet"] = "emit"
    rearm_s: Seconds | None = None
    band: Annotated[float, Field(gt=0)] | None = None


class Since(Part):
    """Seconds from a beginning to its end, by pairing two messages.

    Attributes:
        key: What is paired; a template.
        begin: Condition of the first message.
        end: Condition of the second one.
        max_s: A longer pair is no pair.
    """

    key: Expression
    begin: Conditions
    end: Conditions
    max_s: Seconds = 86_400.0


class Once(Part):
    """The same happening, told several times, is one event.

    Attributes:
        key: What makes it the same; a template. Shared by all rules of the file.
        within_s: How long it is remembered.
    """

    key: Expression
    within_s: Seconds = 604_800.0
