"""HQ's commands, after their signature, store, expiry and version were checked.

HQ may tighten at once. It may grant a consent or close a complaint only by a statement later than
any withdrawal or complaint that the store knows. Every command is confirmed: taken, or refused
and why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from edge_agent.decide.hq_campaigns import section_of, section_text
from edge_agent.domain.contacts import HQ_PREFIX, IGNORED, Contact
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import (
    AddPlan,
    Confirm,
    RecordContact,
    SetCampaign,
    SetCatalogue,
    SetFact,
    SetStock,
)
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.domain.scoring import FIRST_PLAN, PromotionPlan
from edge_agent.domain.store import Fact, Product
from edge_agent.domain.time import SECOND_MS, WEEK, monday_of, ms_from_datetime
from edge_agent.domain.visitor import CONSENT_BASIS, ConsentStatement
from edge_agent.engine.help_by_staff import tell_story
from edge_agent.engine.persons import circle_of
from edge_agent.engine.rights import silence_screens, state_consent, with_complaint
from edge_agent.identify.consent import PROFILING, PURPOSES, has_consent, may_hq_loosen
from edge_agent.identify.links import may_link
from edge_agent.ingest.ordering import mark_of
from edge_agent.state.profile import with_hq_profile
from edge_agent.wire import downlink

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Commanded
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft

HQ_SOURCE = "hq"
# More than a year has weeks.
PLANS_A_COMMAND: Final = 64


def obey(draft: Draft, commanded: Commanded) -> None:
    """Carries out a command, or refuses it with a reason; HQ hears which."""
    command = commanded.command
    reason: str | None
    match command:
        case downlink.AckCommand():
            return
        case (
            downlink.ProfileCommand()
            | downlink.ConsentCommand()
            | downlink.ComplaintCommand()
            | downlink.ContactCommand()
        ):
            reason = _of_person(draft, commanded, command)
        case downlink.StockCommand() | downlink.CatalogueCommand() | downlink.FactCommand():
            reason = _of_store(draft, command)
        case downlink.PromotionCommand():
            reason = _promotion(draft, command)
        case downlink.CampaignCommand():
            reason = commanded.problem
            if reason is None:
                draft.add(_campaign(draft, command.body))
        case (
            downlink.JourneyCommand()
            | downlink.SegmentCommand()
            | downlink.ConfigCommand()
            | downlink.ModelCommand()
        ):
            reason = f"this version of the agent does not carry out {command.kind} commands"
        case _:
            assert_never(command)
    draft.add(Confirm(command=command.command, reason=reason))


def _of_person(
    draft: Draft,
    commanded: Commanded,
    command: downlink.ProfileCommand
    | downlink.ConsentCommand
    | downlink.ComplaintCommand
    | downlink.ContactCommand,
) -> str | None:
    match command:
        case downlink.ProfileCommand():
            return _profile(draft, commanded, command.body)
        case downlink.ConsentCommand():
            return _consent(draft, commanded, command.body)
        case downlink.ComplaintCommand():
            return _complaint(draft, commanded, command.body)
        case downlink.ContactCommand():
            return _contacts(draft, commanded, command.body)
        case _:
            assert_never(command)


def _of_store(
    draft: Draft,
    command: downlink.StockCommand | downlink.CatalogueCommand | downlink.FactCommand,
) -> str | None:
    match command:
        case downlink.StockCommand():
            rows = command.body.rows
            draft.add(SetStock(rows=tuple((ProductId(r.product), r.quantity) for r in rows)))
        case downlink.CatalogueCommand():
            draft.add(SetCatalogue(rows=tuple(_product(row) for row in command.body.rows)))
        case downlink.FactCommand():
            draft.add(SetFact(fact=_fact(command.body)))
        case _:
            assert_never(command)
    return None


def _person(draft: Draft, commanded: Commanded, at_ms: int) -> Visitor | None:
    if commanded.subject is None or not commanded.subject.is_identified:
        return None
    return draft.visitor_for(commanded.subject, day=commanded.day, at_ms=at_ms)


def _profile(draft: Draft, commanded: Commanded, body: downlink.ProfileBody) -> str | None:
    known = None if commanded.subject is None else draft.visitor_of(commanded.subject)
    now_ms = draft.context.now_ms
    if known is not None and has_consent(known, PROFILING, now_ms=now_ms):
        profile = with_hq_profile(known.profile, body, at_ms=now_ms)
    elif known is not None and has_consent(known, "sending_to_hq", now_ms=now_ms):
        # To send HQ what he bought needs its handle for him, and nothing of what HQ knows.
        profile = replace(known.profile, reference=body.reference)
    else:
        return "no consent of this customer to profiling is on record here"
    draft.put_visitor(replace(known, profile=profile))
    return None


def _consent(draft: Draft, commanded: Commanded, body: downlink.ConsentBody) -> str | None:
    at_ms = ms_from_datetime(body.stated_at)
    visitor = _person(draft, commanded, at_ms)
    if visitor is None:
        return "not an identified customer"
    granted = body.action == "grant"
    if granted and at_ms > draft.context.now_ms + _ahead_ms(draft):
        return "stated in the future"
    purposes = sorted(set(body.purposes) or set(PURPOSES))
    people = circle_of(draft, (visitor,))
    if granted and not all(
        may_hq_loosen(person, p, stated_at_ms=at_ms) for person in people for p in purposes
    ):
        return "the store knows a later withdrawal"
    if granted:
        at_ms = min(at_ms, draft.context.now_ms)
    expires_at_ms = None if body.expires_at is None else ms_from_datetime(body.expires_at)
    statements = tuple(
        ConsentStatement(
            purpose=purpose,
            granted=granted,
            stated_at_ms=at_ms,
            source=HQ_SOURCE,
            text_version=body.text_version,
            expires_at_ms=expires_at_ms,
            basis=body.basis if granted else CONSENT_BASIS,
            only_on=only_on,
        )
        for purpose in purposes
        for only_on in sorted(set(body.only_on or ())) or (None,)
    )
    cause = Cause(source=HQ_SOURCE, id=commanded.command.command)
    state_consent(draft, visitor, statements, cause=cause)
    return None


def _complaint(draft: Draft, commanded: Commanded, body: downlink.ComplaintBody) -> str | None:
    at_ms = ms_from_datetime(body.stated_at)
    visitor = _person(draft, commanded, at_ms)
    if visitor is None or commanded.case is None:
        return "not an identified customer"
    opened = body.action == "open"
    if not opened and at_ms > draft.context.now_ms + _ahead_ms(draft):
        return "stated in the future"
    if not opened and any(
        (complaint.opened_at_ms or 0) >= at_ms
        for person in circle_of(draft, (visitor,))
        for complaint in person.complaints
        if complaint.case == commanded.case
    ):
        return "the store knows a later complaint"
    if not opened:
        at_ms = min(at_ms, draft.context.now_ms)
    visitor = with_complaint(visitor, commanded.case, at_ms=at_ms, opened=opened)
    draft.put_visitor(visitor)
    cause = Cause(source=HQ_SOURCE, id=commanded.command.command)
    silence_screens(draft, cause=cause)
    if opened:
        tell_story(draft, visitor, body.story, cause=cause)
    return None


def _fact(body: downlink.FactBody) -> Fact:
    # One that is over already takes back what was said before.
    until_ms = ms_from_datetime(body.valid_until)
    return Fact(name=body.name, value=body.value, valid_until_ms=until_ms)


def _campaign(draft: Draft, body: downlink.CampaignBody) -> SetCampaign:
    return SetCampaign(
        campaign=CampaignId(body.campaign),
        section=section_text(section_of(body)),
        ends_at_ms=ms_from_datetime(body.ends_at),
        at_ms=draft.context.now_ms,
    )


def _promotion(draft: Draft, command: downlink.PromotionCommand) -> str | None:
    """Adds a plan for each week that is named; a week is one of ISO 8601."""
    rows = command.body.rows
    day = command.issued_at.astimezone(draft.context.zone).date()
    plans = []
    for week in sorted({each.week for each in rows}):
        monday = monday_of(week, near=day)
        if monday is None:
            return f"{week} is no week of ISO 8601 about the time of this command"
        plan = PromotionPlan(
            # The command's own: a batch that is rolled back leaves no number for another plan.
            number=FIRST_PLAN + command.version * PLANS_A_COMMAND + week,
            from_day=monday.isoformat(),
            until_day=(monday + WEEK).isoformat(),
            displayed=frozenset(
                ProductId(r.product) for r in rows if r.week == week and r.display
            ),
            mailed=frozenset(ProductId(r.product) for r in rows if r.week == week and r.mailer),
        )
        plans.append(AddPlan(plan=plan))
    draft.add(*plans)
    return None


def _contacts(draft: Draft, commanded: Commanded, body: downlink.ContactBody) -> str | None:
    """Takes in what a customer was told elsewhere; of who is not recognised nothing is kept."""
    known = None if commanded.subject is None else draft.visitor_of(commanded.subject)
    now_ms = draft.context.now_ms
    if known is None or not may_link(known, now_ms=now_ms):
        return "no consent of this customer is on record here"
    latest_ms = now_ms + _ahead_ms(draft)
    if any(ms_from_datetime(row.at) > latest_ms for row in body.contacts):
        return "told of in the future"
    for row in body.contacts:
        contact = _contact(row)
        draft.add(RecordContact(visitor=known.id, contact=contact, known_at_ms=now_ms))
    return None


def _contact(row: downlink.ContactRow) -> Contact:
    came_of_it = row.outcome is not None and row.outcome != IGNORED
    return Contact(
        id=f"{HQ_PREFIX}{mark_of(HQ_SOURCE, row.id):x}",
        at_ms=ms_from_datetime(row.at),
        channel=row.channel,
        products=tuple(ProductId(each) for each in row.products),
        campaigns=() if row.campaign is None else (CampaignId(row.campaign),),
        outcomes=frozenset({(str(row.outcome), None)}) if came_of_it else frozenset(),
    )


def _ahead_ms(draft: Draft) -> int:
    return draft.context.policy.future_tolerance_s * SECOND_MS


def _product(row: downlink.CatalogueRow) -> Product:
    return Product(
        id=ProductId(row.product),
        title=row.title,
        price=None if row.price is None else str(row.price),
        currency=row.currency,
        department=row.department,
        image=row.image,
        brand=row.brand,
        minimum_age=row.minimum_age or 0,
    )
