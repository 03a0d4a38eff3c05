"""Every message and every topic of the two brokers in one table, seen from the agent.

What a message holds is in its model; here stands what it is called, where it travels, which way,
how (quality of service, retained, expiring) and who is at the other end. The schema documents
are made from this table; it does no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from edge_agent.wire import topics
from edge_agent.wire.base import SCHEMA_VERSION, Message
from edge_agent.wire.consents import ConsentReceipt
from edge_agent.wire.downlink import COMMAND_TYPES, Command
from edge_agent.wire.events import (
    EVENT_TYPES,
    CloudEvent,
    ScreenDismissed,
    ScreenShown,
    ScreenTapped,
)
from edge_agent.wire.notices import AgentState, ClockTick, DeadLetterNotice, EventReceipt
from edge_agent.wire.offers import OfferReply, OfferRequest
from edge_agent.wire.screens import (
    ReceiptOffer,
    Recommendation,
    RecommendReply,
    RecommendRequest,
)
from edge_agent.wire.staff import StaffAlert, StaffFeedback
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    Erasure,
    GatewayState,
    Summary,
    SummaryKind,
)

Server = Literal["store", "hq"]
Direction = Literal["receive", "send"]
# The roles of provisioning/mosquitto.acl, and the two that have no login at a store's broker.
Peer = Literal["device", "pos", "screen", "kiosk", "staff", "pages", "replay", "hq"]

SCHEMA_URN: Final = "urn:edge-agent:schema"

_OWN_NAMES: Final[dict[type[Message], str]] = {
    Recommendation: "recommendation",
    ReceiptOffer: "receipt.offer",
    RecommendRequest: "recommend.request",
    RecommendReply: "recommend.reply",
    OfferRequest: "offer.request",
    OfferReply: "offer.reply",
    StaffAlert: "staff.alert",
    StaffFeedback: "staff.feedback",
    AgentState: "agent.state",
    EventReceipt: "event.receipt",
    DeadLetterNotice: "deadletter",
    ClockTick: "clock",
    Summary: "up.summary",
    CustomerUpdate: "up.customer",
    GatewayState: "up.state",
    Confirmation: "up.confirm",
    ConsentReceipt: "consent.receipt",
    Erasure: "up.erasure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One topic and what travels on it.

    Attributes:
        name: Its key in the AsyncAPI document.
        address: The topic with its parameters in braces; None where the peer names it (the
            response topic of a request).
        direction: Whether the agent receives or sends there.
        peers: Who is at the other end.
        qos: MQTT quality of service, at least.
        retain: Whether the broker keeps the last message for whoever subscribes later.
        expires: Whether the message carries an MQTT expiry, as long as its `valid_until`.
        batch: Whether an array of the messages (a CloudEvents batch) is welcome too.
        signed: Whether the message travels as a JWS in compact form.
        reply: The name of the channel with the answer.
    """

    name: str
    address: str | None
    server: Server
    direction: Direction
    messages: tuple[type[Message], ...]
    about: str
    peers: tuple[Peer, ...]
    qos: Literal[0, 1, 2] = 1
    retain: bool = False
    expires: bool = False
    batch: bool = False
    signed: bool = False
    reply: str | None = None


def message_name(model: type[Message]) -> str:
    """Returns what schemas call a message.

    An event goes by its `type`, a command by `down.` and its kind.

    Example:
        >>> message_name(Recommendation)
        'recommendation'
    """
    if issubclass(model, CloudEvent):
        return str(get_args(model.model_fields["type"].annotation)[0])
    if issubclass(model, Command):
        return f"down.{command_kind(model)}"
    return _OWN_NAMES[model]


def command_kind(model: type[Command]) -> str:
    """Returns a command's kind, which is the last level of its topic."""
    return str(get_args(model.model_fields["kind"].annotation)[0])


def schema_uri(name: str) -> str:
    """Returns the name of a message's schema, which an event may carry in `dataschema`.

    Example:
        >>> schema_uri("zone.entered")
        'urn:edge-agent:schema:zone.entered:1'
    """
    return f"{SCHEMA_URN}:{name}:{SCHEMA_VERSION}"


def _store_inward() -> tuple[Channel, ...]:
    return (
        Channel(
            name="event",
            address=topics.event("{store}", "{source}"),
            server="store",
            direction="receive",
            messages=EVENT_TYPES,
            batch=True,
            about="Canonical events: one CloudEvent, or a JSON array of them.",
            peers=("device", "pos", "replay"),
        ),
        Channel(
            name="screenFeedback",
            address=topics.feedback("{store}", "{screen}"),
            server="store",
            direction="receive",
            messages=(ScreenShown, ScreenTapped, ScreenDismissed),
            batch=True,
            about="What became of a recommendation on a screen.",
            peers=("screen", "kiosk", "pages"),
        ),
        Channel(
            name="recommendRequest",
            address=topics.request("{store}"),
            server="store",
            direction="receive",
            messages=(RecommendRequest,),
            about="A peer asks for a recommendation and names its response topic.",
            peers=("kiosk", "staff", "pos"),
            reply="recommendReply",
        ),
        Channel(
            name="offerRequest",
            address=topics.offer_request("{store}"),
            server="store",
            direction="receive",
            messages=(OfferRequest,),
            about="A till asks whether a limited offer's code is good, or takes it in, once.",
            peers=("pos",),
            reply="offerReply",
        ),
        Channel(
            name="staffFeedback",
            address=topics.staff_feedback("{store}", "{team}"),
            server="store",
            direction="receive",
            messages=(StaffFeedback,),
            about="What became of an alert.",
            peers=("staff", "pages"),
        ),
        Channel(
            name="clock",
            address=topics.clock("{store}"),
            server="store",
            direction="receive",
            messages=(ClockTick,),
            about='A replay\'s time; heeded only with `clock = "replay"` in the configuration.',
            peers=("replay",),
        ),
    )


def _store_outward() -> tuple[Channel, ...]:
    return (
        Channel(
            name="recommendation",
            address=topics.recommendation("{store}", "{screen}"),
            server="store",
            direction="send",
            messages=(Recommendation,),
            retain=True,
            expires=True,
            about="What a screen shows until `valid_until`.",
            peers=("screen", "kiosk", "pages"),
        ),
        Channel(
            name="recommendReply",
            address=None,
            server="store",
            direction="send",
            messages=(RecommendReply,),
            expires=True,
            about=(
                "The answer, with the request's correlation data, on its response topic: one that "
                "the asker may read, below `store/{store}/reply/`."
            ),
            peers=("kiosk", "staff", "pos"),
        ),
        Channel(
            name="offerReply",
            address=None,
            server="store",
            direction="send",
            messages=(OfferReply,),
            expires=True,
            about=(
                "The answer, with the request's correlation data, on its response topic below "
                "`store/{store}/reply/`: good, used, expired or unknown."
            ),
            peers=("pos",),
        ),
        Channel(
            name="staffAlert",
            address=topics.alert("{store}", "{team}"),
            server="store",
            direction="send",
            messages=(StaffAlert,),
            expires=True,
            about=(
                "Somebody may want help from a person. A call that is followed up is told again "
                "under the same decision as it moves on, until it is closed or withdrawn."
            ),
            peers=("staff", "pages"),
        ),
        Channel(
            name="receiptOffer",
            address=topics.receipt_offer("{store}", "{register}"),
            server="store",
            direction="send",
            messages=(ReceiptOffer,),
            expires=True,
            about="What a till prints on the receipt of an open basket.",
            peers=("pos",),
        ),
        Channel(
            name="eventReceipt",
            address=topics.event_receipt("{store}", "{source}"),
            server="store",
            direction="send",
            messages=(EventReceipt,),
            about="For sources that ask: this event is committed (or refused), stop repeating it.",
            peers=("pos", "device"),
        ),
        Channel(
            name="agentState",
            address=topics.agent_state("{store}"),
            server="store",
            direction="send",
            messages=(AgentState,),
            retain=True,
            about="Online or offline, version, health; the agent's last will says offline.",
            peers=("screen", "kiosk", "pos", "staff", "pages"),
        ),
        Channel(
            name="deadLetter",
            address=topics.dead_letter("{store}"),
            server="store",
            direction="send",
            messages=(DeadLetterNotice,),
            about="Why a message was refused; never what was in it.",
            peers=("pages",),
        ),
    )


def _hq_upward() -> tuple[Channel, ...]:
    ups: tuple[tuple[str, str, type[Message], str], ...] = (
        ("Customer", "customer", CustomerUpdate, "A consenting, identified customer's day."),
        ("State", "state", GatewayState, "The gateway's health and versions."),
        ("Confirm", "confirm", Confirmation, "Which commands were taken, refused and why."),
        ("Erasure", "erasure", Erasure, "A customer to be forgotten; repeated until the ack."),
    )
    summary = Channel(
        name="upSummary",
        address=topics.hq_summary("{store}", "{kind}"),
        server="hq",
        direction="send",
        messages=(Summary,),
        about=f"Period aggregates: {', '.join(get_args(SummaryKind))}.",
        peers=("hq",),
    )
    return (
        summary,
        *(
            Channel(
                name=f"up{title}",
                address=topics.hq_up("{store}", kind),
                server="hq",
                direction="send",
                messages=(model,),
                about=about,
                peers=("hq",),
            )
            for title, kind, model, about in ups
        ),
    )


def _hq_downward() -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name=f"down{command_kind(model).capitalize()}",
            address=topics.hq_down("{store}", command_kind(model)),
            server="hq",
            direction="receive",
            messages=(model,),
            signed=True,
            about=f"Signed `{command_kind(model)}` commands, to one store or to `all`.",
            peers=("hq",),
        )
        for model in COMMAND_TYPES
    )


CHANNELS: Final = (*_store_inward(), *_store_outward(), *_hq_upward(), *_hq_downward())

# Handed to a person, and on no topic.
PAPERS: Final[tuple[type[Message], ...]] = (ConsentReceipt,)

MESSAGES: Final[tuple[type[Message], ...]] = (
    *dict.fromkeys(model for channel in CHANNELS for model in channel.messages),
    *PAPERS,
)
