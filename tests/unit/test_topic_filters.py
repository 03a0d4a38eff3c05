"""Topic filters: what they bring, and that the fewest bring each message exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.filters import contains, fewest, joined, matches, overlap, problem_of

_NAMES = st.sampled_from(["a", "b", "c"])
_TOPICS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_LEVELS = st.lists(st.sampled_from(["a", "b", "c", "+"]), min_size=1, max_size=4)
_FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, "#"] if rest else levels), _LEVELS, st.booleans()
)


@given(st.lists(_FILTERS, min_size=1, max_size=6), _TOPICS)
def test_the_fewest_bring_each_message_once_and_miss_none(filters: list[str], topic: str) -> None:
    """Whatever a broker does with overlapping subscriptions, a message comes once."""
    n_times = sum(matches(each, topic) for each in fewest(filters))
    assert n_times <= 1
    if any(matches(each, topic) for each in filters):
        assert n_times == 1


@given(_FILTERS, _FILTERS, _TOPICS)
def test_relations_of_two_filters_hold_for_every_topic(one: str, two: str, topic: str) -> None:
    """Containing, overlapping and joining mean what they say."""
    if contains(one, two) and matches(two, topic):
        assert matches(one, topic)
    if matches(one, topic) and matches(two, topic):
        assert overlap(one, two)
    if matches(one, topic) or matches(two, topic):
        assert matches(joined(one, two), topic)


@pytest.mark.parametrize(
    ("topic_filter", "words"),
    [
        ("", "no topic filter"),
        ("$SYS/#", "broker's own"),
        ("a/#/b", "stands last"),
        ("a/b+", "whole level"),
        ("a/+/b/#", None),
        ("/merakimv/+/+", None),
    ],
)
def test_a_filter_that_no_broker_takes_is_told(topic_filter: str, words: str | None) -> None:
    """The check finds it, before a broker refuses it in silence."""
    found = problem_of(topic_filter)
    assert found is None if words is None else found is not None and words in found


def test_wildcards_do_not_bring_the_brokers_own_topics() -> None:
    """MQTT 5.0, section 4.7.2."""
    assert not matches("#", "$SYS/uptime")
    assert not matches("+/uptime", "$SYS/uptime")
