"""Which vendor signs how; what a document leaves open is said here, and allowed for.

Source: Square, https://developer.squareup.com/docs/webhooks/step3validate
Source: Shopify, https://shopify.dev/docs/apps/build/webhooks/subscribe/https
Source: Lightspeed, https://x-series-api.lightspeedhq.com/docs/webhooks
Source: Loyverse, https://developer.loyverse.com/docs/ (webhooks);
    https://loyverse.town/topic/7422-webhook-overview-documentation
Source: Zettle, https://github.com/iZettle/api-documentation (pusher-api: create-subscriptions,
    troubleshooting, event-payloads)
Source: Disruptive Technologies, https://developer.disruptive-technologies.com/docs/data-connectors,
    https://github.com/disruptive-technologies/python-integrations (data_connector/http_push.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from edge_agent.bridge.envelopes import SignedFields, SignedToken
from edge_agent.bridge.signatures import Signed, Told, Unguarded

SQUARE_HEADER: Final = "x-square-hmacsha256-signature"
SHOPIFY_HEADER: Final = "x-shopify-hmac-sha256"
LIGHTSPEED_HEADER: Final = "x-signature"
LOYVERSE_HEADER: Final = "x-loyverse-signature"
ZETTLE_HEADER: Final = "x-izettle-signature"
DISRUPTIVE_HEADER: Final = "x-dt-signature"
# Ten repeats at 60 s, nine at 600 s, one an hour for 70 hours: 71 h 40 min. The rest is for the
# last one's way.
ZETTLE_REPEATS_FOR_S: Final = 72 * 3_600

Rule = Signed | SignedFields | SignedToken | Told | Unguarded


def square(secrets: tuple[bytes, ...], *, url: str) -> Signed:
    """Returns Square's rule: its URL as it was registered there is signed in front of the body."""
    literal = url.replace("{", "%7B").replace("}", "%7D")
    return Signed(secrets=secrets, header=SQUARE_HEADER, signed=literal + "{body}")


def shopify(secrets: tuple[bytes, ...]) -> Signed:
    """Returns Shopify's rule."""
    return Signed(secrets=secrets, header=SHOPIFY_HEADER)


def lightspeed(secrets: tuple[bytes, ...]) -> Signed:
    """Returns the rule of Lightspeed Retail (X-Series), of webhooks that an application made.

    The document gives the header's form and says that the request's body is hashed; its example of
    a signature is neither hex nor base64, so both are taken.
    """
    return Signed(secrets=secrets, header=LIGHTSPEED_HEADER, encoding=None, has_parameters=True)


def loyverse(secrets: tuple[bytes, ...]) -> Signed:
    """Returns Loyverse's rule, of webhooks that an application made: the others are not signed.

    HMAC-SHA-1. The document says base64, a developer who measured it hex: both are taken.
    """
    return Signed(secrets=secrets, header=LOYVERSE_HEADER, algorithm="sha1", encoding=None)


def zettle(secrets: tuple[bytes, ...]) -> SignedFields:
    """Returns Zettle's rule: the event's time and the payload's text are signed, nothing else."""
    return SignedFields(
        signed=Signed(
            secrets=secrets, header=ZETTLE_HEADER, encoding="hex", signed="{timestamp}.{body}"
        ),
        repeated_for_s=ZETTLE_REPEATS_FOR_S,
        probe="TestMessage",
    )


def disruptive(secrets: tuple[bytes, ...]) -> SignedToken:
    """Returns the rule of Disruptive Technologies' data connectors."""
    return SignedToken(secrets=secrets, header=DISRUPTIVE_HEADER)


# Square's needs its URL too.
BY_KIND: Final[Mapping[str, Callable[[tuple[bytes, ...]], Rule]]] = {
    "shopify": shopify,
    "lightspeed": lightspeed,
    "loyverse": loyverse,
    "zettle": zettle,
    "disruptive": disruptive,
}
