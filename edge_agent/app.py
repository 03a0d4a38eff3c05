"""The composition root: a configuration becomes adapters, threads and a running agent.

The one file that names every concrete class. Order at start: database, keys, model, state, then
the links; the broker is the last, because its messages may come at once.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent import __version__
from edge_agent.config import layout_of, raw_key, tolerances_of
from edge_agent.domain.effects import Publish
from edge_agent.domain.ids import ProductId, StoreId
from edge_agent.domain.time import DAY_MS, SECOND_MS, datetime_from_ms, local_time
from edge_agent.errors import (
    EdgeAgentError,
    RequestRefused,
    StoreCorrupt,
)
from edge_agent.replay.beside import answers_to
from edge_agent.runner.dead_letters import DeadLetters
from edge_agent.runner.devices import Devices, told_of
from edge_agent.runner.egress import META_KEY as EGRESS
from edge_agent.runner.egress import HqGate
from edge_agent.runner.hold_back import HoldBack
from edge_agent.runner.hq_heard import META_KEY as HQ_HEARD
from edge_agent.runner.hq_heard import HqHeard
from edge_agent.runner.loop_assembly import LoopParts, loop_from
from edge_agent.runner.mapped import Mapper
from edge_agent.runner.mapping_memory import MappingMemory
from edge_agent.runner.name_guard import NameGuard
from edge_agent.runner.outbox import HqOutbox, StoreOutbox
from edge_agent.runner.people import People
from edge_agent.runner.redeliveries import Redeliveries
from edge_agent.runner.retries import Retries, retried
from edge_agent.runner.road_assembly import RoadParts, road_from
from edge_agent.runner.settings import RoadSettings
from edge_agent.runner.summarise import Summariser
from edge_agent.runner.tombstones import Tombstones
from edge_agent.runner.wakes import rebuilt
from edge_agent.runner.watch import DeviceWatch
from edge_agent.shell.catalogue import BundleDepartments, StoreCatalogue
from edge_agent.shell.cipher import DayCipher
from edge_agent.shell.clock import ReplayClock, SystemClock, monotonic_ns
from edge_agent.shell.control import SHOW_EGRESS, SHOW_SHADOW_POLICY, ControlServer
from edge_agent.shell.derived import Shop
from edge_agent.shell.health import SHADOW_POLICY
from edge_agent.shell.hq_mark import HqMark
from edge_agent.shell.installed_models import InstalledModels
from edge_agent.shell.key_desk import KeyDesk
from edge_agent.shell.keys import KeyStore
from edge_agent.shell.links import link_settings
from edge_agent.shell.mapping_desk import MappingDesk
from edge_agent.shell.mapping_files import secret_of
from edge_agent.shell.model_store import ModelStore
from edge_agent.shell.model_switch import ModelSwitch
from edge_agent.shell.mqtt_client import Incoming, MqttLink, Subscription, Will
from edge_agent.shell.opening import Opening
from edge_agent.shell.policy_shadow import Means, Observers, PolicyShadow
from edge_agent.shell.reserve import Reserve
from edge_agent.shell.retention import APART, purge
from edge_agent.shell.rights_desk import RightsDesk, StoreOf, Ways
from edge_agent.shell.rule_desk import Found, RuleDesk
from edge_agent.shell.scorers import ModelScorer, PopularityScorer
from edge_agent.shell.second_copy import SecondCopy
from edge_agent.shell.shadow import Shadow
from edge_agent.shell.signing import verify_command
from edge_agent.shell.sqlite_db import reading_own_rows, rot_of, store_error
from edge_agent.shell.state_store import StateStore
from edge_agent.shell.systemd import ServiceManager, Watchdog
from edge_agent.shell.terms import noted
from edge_agent.shell.unit_of_work import UnitOfWork
from edge_agent.state.alarms import kinds_of
from edge_agent.sync.egress import Names
from edge_agent.wire import topics
from edge_agent.wire.notices import AgentState
from edge_agent.wire.summaries import DEVICES_MAX, GatewayState

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config import Config
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.scoring import PromotionPlan
    from edge_agent.domain.store import Layout
    from edge_agent.runner.loop import Loop
    from edge_agent.runner.road import Road
    from edge_agent.shell.bundles import Bundle
    from edge_agent.state.devices import Standing
    from edge_agent.state.tolerances import Tolerances
    from edge_agent.wire.summaries import DeviceState

log = logging.getLogger(__name__)

# The broker keeps our messages for longer than a long weekend without the agent.
SESSION_EXPIRY_S: Final = 7 * 24 * 3_600
PURGE_EVERY_S: Final = 3_600.0
# Sales that popularity is counted from when there is no model.
POPULARITY_DAYS: Final = 30
# How long a local command waits for the core thread.
CALL_TIMEOUT_S: Final = 30.0
GUARD_KEY_BYTES: Final = 32
# The problem that identified customers are left alone because HQ was not heard for too long.
HQ_UNHEARD: Final = "hq_unheard"


class Agent:
    """A running agent: `start`, `wait_ready`, `stop`."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self.config = config
        self._path = path
        self.stopping = threading.Event()
        self._reloading = threading.Lock()
        self._service = ServiceManager()
        self._next_purge_s = 0.0
        self._has_purged_people = False
        self._was_hq_unheard = False
        is_replay = config.clock == "replay"
        clock_type = ReplayClock if is_replay else SystemClock
        self._keys = KeyStore(config.key_directory, seed=config.seed if is_replay else None)
        self._second_copy = SecondCopy(
            config.second_copy,
            self._keys.store_key,
            is_synced=config.state.durability == "power-loss",
        )
        self._opening = Opening(
            config.database,
            durability=config.state.durability,
            second_copy=self._second_copy,
            reserve=_reserve_of(config),
            clock=clock_type(floor_ms=0),
            open_keys=self._open_keys,
        )
        self._db = self._opening.open()
        bundle = config.model.bundle
        self._models = InstalledModels(
            ModelStore(config.model_directory),
            configured=None if bundle is None else Path(bundle),
            public_key=config.model_key,
            today=lambda: datetime_from_ms(self._clock.now_ms()).date(),
        )
        self._models.load()
        self._build_on_what_is_there()

    def reload(self) -> None:
        """Asks for mappings and rules to be loaded again, and does not wait for it."""
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    # --- life ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Connects and runs the road in this thread until `stopping` is set."""
        self._store_link.start()
        if self._hq_link is not None:
            self._hq_link.start()
        threading.Thread(target=self._announce, name="announce", daemon=True).start()
        self._control.start()
        ended_by: Exception | None = None
        try:
            self._loop.run()
        except Exception as error:
            ended_by = error
            raise
        finally:
            self._opening.note_end(ended_by)
            self._stop()

    def _announce(self) -> None:
        while not self.stopping.is_set():
            if self._store_link.wait_connected(1.0):
                self._service.ready(f"store {self.config.store}, version {__version__}")
                log.info("ready", extra={"fields": {"store": self.config.store}})
                return

    def _stop(self) -> None:
        self._service.stopping()
        self._control.stop()
        self._shadow.stop()
        self._policy_shadow.stop()
        if self._store_link.connected:
            topic = topics.agent_state(self.config.store)
            self._store_link.publish(topic, self._state_message("offline"), retain=True)
        self._store_link.stop()
        if self._hq_link is not None:
            self._hq_link.stop()
        self._save_counters()
        # Folds the log back, so that the next start has nothing to recover.
        with suppress(Exception):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._second_copy.close()

    # --- building -----------------------------------------------------------------------------

    def _open_keys(self, connection: sqlite3.Connection | None) -> None:
        """Opens the ring of keys: the database's, or the one beside it where there is none."""
        beside = Path(self.config.state.directory) / "keyring"
        if connection is None:
            if beside.exists():
                self._keys.unlock(beside.read_text(encoding="utf-8"))
            return
        self._key_desk = KeyDesk(
            connection,
            self._keys,
            beside=beside,
            zone=self.config.zone_info,
            second_copy=self._second_copy,
        )

    def _build_on_what_is_there(self) -> None:
        try:
            self._build()
        except StoreCorrupt as error:
            self._build_anew(error.message)
        except sqlite3.DatabaseError as error:
            path = self.config.database
            rot = rot_of(error, path)
            if rot is None:
                raise store_error(error, path) from error
            self._build_anew(rot.message)

    def _build_anew(self, why: str) -> None:
        # SQLite's check passes over what only shows when it is read.
        self._db.close()
        self._db = self._opening.begin_anew(why)
        self._build()

    def _build(self) -> None:
        config = self.config
        layout = layout_of(config)
        self._settings = _road_settings(config)
        self._bundle = self._models.in_use.live
        catalogue = None if self._bundle is None else self._bundle.catalogue
        self._departments = BundleDepartments(catalogue)
        self._state = StateStore(
            self._db,
            layout=layout,
            departments=self._departments,
            terms=noted(self._db, config),
        )
        lost_at_ms = self._opening.found.compared.lost_at_ms
        self._settings = replace(self._settings, lost_at_ms=lost_at_ms)
        self._shadow = Shadow(self._state, config.policy)
        self._policy_shadow = PolicyShadow(
            self._state, config.policy, context=lambda: self._road.present.context, ask=answers_to
        )
        self._catalogue = self._make_catalogue()
        period_ms = config.policy.summary_period_s * SECOND_MS
        self._unit = UnitOfWork(
            self._db,
            self._state,
            path=config.database,
            period_ms=period_ms,
            second_copy=self._second_copy,
        )
        last_now_ms = self._meta("now_ms")
        clock_type = ReplayClock if config.clock == "replay" else SystemClock
        self._clock = clock_type(floor_ms=last_now_ms)
        self._make_people()
        secret = secret_of(self._keys.store_key())
        self._label_key = secret
        self._start_desks(secret, last_now_ms)
        self._memory = memory = MappingMemory(
            self._unit, DayCipher(), secret, today_key=self._people.today_key
        )
        self._mapper = Mapper(
            memory,
            Redeliveries(self._unit),
            self._desk.mappings,
            Counter(self._saved_counters()) + Counter(self._opening.found.counts()),
        )
        self._dead_letters = DeadLetters(self._unit, DayCipher())
        self._make_links()
        self._store_outbox = StoreOutbox(
            self._store_link, _RoadClock(self), counters=self._mapper.counters
        )
        self._make_hq_outbox(layout)
        self._road = self._make_road(last_now_ms)
        self._road.present.use_rules(self._rule_desk.rules)
        self._watch = DeviceWatch(
            self._road.devices, k=config.policy.k, now_s=self._clock.monotonic_s()
        )
        self._retries = Retries(
            unit=self._unit,
            road=self._road,
            people=self._people,
            sealer=DayCipher(),
            dead_letters=self._dead_letters,
        )
        self._loop = self._make_loop()
        self._control = ControlServer(config.control_socket, self._asked)
        self._model_switch = ModelSwitch(
            self._models,
            self._shadow,
            use=self._use_bundle,
            prepare=lambda bundle: bundle.scorer.use_plans(self._state.plans()),
        )
        with reading_own_rows(config.database):
            self._model_switch.begin(saved=self._meta_text("shadow"))
            saved = self._meta_text(SHADOW_POLICY)
        self._take_shadow(self._rule_desk.read_shadow(), saved=saved)
        self._rights = self._make_rights_desk(period_ms)
        self._queue_waiting()

    def _take_shadow(self, found: Found, *, saved: str | None = None) -> None:
        """Compares with the policy that was found; a wrong one leaves what is compared."""
        if found.problem is not None:
            log.error("shadow_policy_refused", extra={"fields": {"problem": found.problem}})
            self._policy_shadow.refuse(found.problem)
            return
        if found.name:
            self._policy_shadow.use_means(self._make_shadow_means())
        self._policy_shadow.use(found.rules if found.name else None, saved=saved)

    def _make_shadow_means(self) -> Means:
        """Returns what a second policy answers with in a thread of its own."""
        bundle, scorer = self._bundle, None
        if bundle is not None:
            scorer = ModelScorer(replace(bundle, scorer=bundle.scorer.beside()))
        return Means(
            scorer=scorer or self._make_scorer(),
            catalogue=self._make_catalogue(),
        )

    def _make_catalogue(self) -> StoreCatalogue:
        bundle = self._bundle
        return StoreCatalogue(
            None if bundle is None else bundle.catalogue,
            fed=self._state.goods.products,
            may_rank=_may_rank(bundle),
            layout=self._settings.layout,
            currency=self.config.currency,
        )

    def _start_desks(self, secret: bytes, last_now_ms: int) -> None:
        now_ms = self._clock.now_ms() or last_now_ms
        self._desk = MappingDesk(self.config, self._path, secret=secret)
        self._rule_desk = RuleDesk(self.config, self._path)
        with reading_own_rows(self.config.database):
            self._desk.start(self._unit, now_ms=now_ms)
            campaigns = self._state.hq_campaigns()
            self._rule_desk.start(self._unit, campaigns=campaigns, now_ms=now_ms)

    def _make_hq_outbox(self, layout: Layout) -> None:
        config = self.config
        self._hq_outbox = None
        self._hq_gate: HqGate | None = None
        if self._hq_link is not None and config.hq is not None:
            max_bytes = config.hq.outbox_max_mb * 1_000_000
            self._hq_gate = self._make_gate(self._hq_link, layout)
            self._hq_outbox = HqOutbox(self._hq_gate, _RoadClock(self), max_bytes=max_bytes)

    def _make_gate(self, link: MqttLink, layout: Layout) -> HqGate:
        names = Names(
            store=self.config.store,
            zones=frozenset(layout.zones),
            is_product=lambda each: self._catalogue.product(ProductId(each)) is not None,
        )
        with reading_own_rows(self.config.database):
            return HqGate(
                link,
                names,
                self.config.zone_info,
                counters=self._mapper.counters,
                saved=self._meta_text(EGRESS),
            )

    def _make_people(self) -> None:
        self._people = People(self._keys, self.config.zone_info)
        key = self._keys.store_key()
        self._tombstones = Tombstones(self._unit, key, lasting=self._people.uncovered)

    def _make_road(self, last_now_ms: int) -> Road:
        now_ms = self._clock.now_ms() or last_now_ms
        keys = {} if self.config.hq is None else _public_keys(self.config.hq.keys)
        with reading_own_rows(self.config.database):
            wakes, hq_heard = self._wakes(now_ms), self._make_hq_heard(now_ms)
            devices = Devices(
                self._unit, self.config.zone_info, now_ms=now_ms, tolerances=self._tolerances()
            )
        parts = RoadParts(
            settings=self._settings,
            state=self._state,
            unit=self._unit,
            people=self._people,
            catalogue=self._catalogue,
            scorer=self._make_scorer(),
            dead_letters=self._dead_letters,
            mapper=self._mapper,
            devices=devices,
            wakes=wakes,
            guard=NameGuard(self._is_known, secrets.token_bytes(GUARD_KEY_BYTES)),
            tombstones=self._tombstones,
            hq_heard=hq_heard,
            verify=partial(verify_command, keys=keys),
            now_ms=now_ms,
            watermark_ms=self._meta("watermark_ms"),
            observer=Observers(self._shadow, self._policy_shadow),
            rule_book=self._rule_desk,
            stopwatch=monotonic_ns,
            use_plans=self._use_plans,
        )
        return road_from(parts)

    def _make_hq_heard(self, now_ms: int) -> HqHeard | None:
        if self.config.hq is None:
            return None
        mark = HqMark(self.config.database.with_name("hq_heard"))
        saved = self._meta_text(HQ_HEARD)
        if saved is None and self._opening.found.set_aside:
            saved = str(mark.read(now_ms=now_ms))
            self._unit.add("meta", (HQ_HEARD, saved))
        return HqHeard(self._unit, None if saved is None else int(saved), keep=mark.keep)

    def _tolerances(self) -> Tolerances:
        return tolerances_of(self.config, self._desk.sections)

    def _is_known(self, name: str) -> bool:
        layout = self._settings.layout
        is_place = name in layout.zones or name in layout.registers or name in layout.screens
        return is_place or self._catalogue.product(ProductId(name)) is not None

    def _make_loop(self) -> Loop:
        parts = LoopParts(
            settings=self._settings,
            road=self._road,
            unit=self._unit,
            dead_letters=self._dead_letters,
            store_link=self._store_link,
            hq_link=self._hq_link,
            store_outbox=self._store_outbox,
            hq_outbox=self._hq_outbox,
            summariser=Summariser(
                self._unit, self._settings, department=self._catalogue.department
            ),
            clock=self._clock,
            reserve=_reserve_of(self.config),
            hold_back=self._make_hold_back(),
            rebuild=self._rebuild,
            on_progress=self._progressed,
            on_idle=self._idle,
            on_trouble=self._tell_state,
            stopping=self.stopping,
            state_of=self._gateway_state,
        )
        return loop_from(parts)

    def _make_hold_back(self) -> HoldBack | None:
        settings = self._settings
        if not settings.hold_back_ms:
            return None
        return HoldBack(
            hold_ms=settings.hold_back_ms,
            store=settings.store,
            max_bytes=settings.max_message_bytes,
            is_replay=settings.is_replay,
            now_ms=self._road.present.now_ms,
            counters=self._road.counters,
        )

    def _make_rights_desk(self, period_ms: int) -> RightsDesk:
        config = self.config
        store = StoreOf(
            name=config.store,
            zone=config.zone_info,
            database=config.database,
            policy=config.policy,
            retention=config.retention,
            period_ms=period_ms,
            has_hq=config.hq is not None,
        )
        ways = Ways(
            unit=self._unit,
            state=self._state,
            connection=self._db,
            tombstones=self._tombstones,
            known_as=self._people.known_as,
            run=self._road.steps.run,
            send_to_hq=self._road.outgoing.send_to_hq,
            let_go=self._let_go,
            unsend=self._store_link.unsend,
            now_ms=self.now_ms,
            title_of=self._title_of,
            shop=self._shop(),
        )
        call = partial(self._loop.calls.call, timeout_s=CALL_TIMEOUT_S)
        restricting = partial(call, is_restricting=True)
        desk = RightsDesk(store, ways, call=call, call_restricting=restricting)
        desk.begin()
        return desk

    def _shop(self) -> Shop:
        layout = self._settings.layout
        registers = {each.zone for each in layout.registers.values() if each.zone is not None}
        return Shop(
            state=self._state,
            brands=self._catalogue.brands,
            price_levels=self._catalogue.price_levels,
            passages=frozenset(
                registers.union(each.id for each in layout.zones.values() if each.is_exit)
            ),
            zone=self.config.zone_info,
        )

    def _let_go(self, visitors: tuple[VisitorId, ...]) -> None:
        self._shadow.forget(visitors)
        self._policy_shadow.forget(visitors)
        self._memory.read_again()
        if self._hq_gate is not None:
            self._hq_gate.forget_texts()

    def _title_of(self, product: ProductId) -> str | None:
        found = self._catalogue.product(product)
        return None if found is None else found.title

    def _make_scorer(self) -> ModelScorer | PopularityScorer:
        if self._bundle is not None:
            return ModelScorer(self._bundle)
        scorer = PopularityScorer()
        since_ms = self._meta("now_ms") - POPULARITY_DAYS * DAY_MS
        baskets: dict[str, tuple[int, list[ProductId]]] = {}
        for basket, at_ms, product in self._db.execute(
            "SELECT s.basket, s.completed_at_ms, l.product FROM sale s JOIN sale_line l"
            " ON l.basket = s.basket WHERE s.completed_at_ms >= ?",
            (since_ms,),
        ):
            baskets.setdefault(basket, (at_ms, []))[1].append(ProductId(product))
        for at_ms, products in baskets.values():
            scorer.learn(products, hour=local_time(at_ms, self.config.zone_info).hour)
        return scorer

    def _make_links(self) -> None:
        config = self.config
        will = Will(topic=topics.agent_state(config.store), payload=self._state_message("offline"))
        settings = link_settings(
            config.broker,
            key="broker",
            client_id=f"edge-agent-{config.store}",
            session_expiry_s=SESSION_EXPIRY_S,
            will=will,
        )
        self._store_link = MqttLink(
            settings,
            subscriptions=self._subscriptions(),
            on_message=partial(self._received, "store"),
            on_connection=self._store_connection,
            on_published=self._published,
            manual_ack=True,
        )
        self._store_link.subscribe_to(self._subscriptions(), leave=self._desk.earlier_filters)
        self._hq_link = None
        if config.hq is not None:
            hq_settings = link_settings(
                config.hq,
                key="hq",
                client_id=f"store-{config.store}",
                session_expiry_s=SESSION_EXPIRY_S,
            )
            filters = topics.hq_down_filters(config.store)
            self._hq_link = MqttLink(
                hq_settings,
                subscriptions=tuple(Subscription(topic_filter=each) for each in filters),
                on_message=partial(self._received, "hq"),
                manual_ack=True,
            )
        links = {"store": self._store_link, "hq": self._hq_link}
        self._watchdog = Watchdog(
            self._service, {name: link for name, link in links.items() if link is not None}
        )

    def _subscriptions(self) -> tuple[Subscription, ...]:
        return (*_subscriptions(self.config), *self._desk.subscriptions)

    def _reload(self) -> None:
        try:
            # One after the other, so that the newest reading is the last to come into force.
            with self._reloading:
                # Read in this thread: events do not wait for a large file.
                found = (self._rule_desk.read(), self._rule_desk.read_shadow())
                load = partial(self._load_again, *found)
                self._loop.calls.call(load, timeout_s=CALL_TIMEOUT_S)
        except EdgeAgentError as error:
            log.error("reload_failed", extra={"fields": {"error": error.message}})  # noqa: TRY400 - told in our words
            return
        self._store_link.subscribe_to(self._subscriptions()).wait(CALL_TIMEOUT_S)
        self._store_connection(self._store_link.connected)
        problems = [*self._desk.problems, *self._rule_desk.problems]
        log.info("reloaded", extra={"fields": {"problems": problems}})

    def _load_again(self, found: Found, shadow: Found) -> dict[str, Any]:
        self._desk.reload(self._unit, now_ms=self.now_ms())
        self._mapper.replace(self._desk.mappings)
        self._road.devices.tolerances = self._tolerances()
        campaigns = self._state.hq_campaigns()
        self._rule_desk.take(found, self._unit, campaigns=campaigns, now_ms=self.now_ms())
        self._road.present.use_rules(self._rule_desk.rules)
        self._take_shadow(shadow)
        return {}

    def _wakes(self, now_ms: int) -> Any:
        layout = self._settings.layout
        return rebuilt(
            self._state.visits.open_visits(),
            {screen: self._state.showing(screen) for screen in layout.screens},
            layout=layout,
            policy=self.config.policy,
            now_ms=now_ms,
            calls=self._state.live_calls(),
            queues=tuple(zone for zone in layout.zones if self._state.level("queue", zone)),
            rules=self._rule_desk.rules,
        )

    def _rebuild(self) -> None:
        """Makes what is in memory follow from the state again, after a batch was rolled back."""
        self._make_wakes_again()
        self._rule_desk.write_again(self._unit)

    def _make_wakes_again(self) -> None:
        self._road.steps.wakes = self._wakes(self._road.present.now_ms)

    def _queue_waiting(self) -> None:
        """Sends again what was committed but not yet at the broker when the agent ended."""
        for row_id, topic, payload, retain, expires_at_ms, correlation in self._db.execute(
            "SELECT id, topic, payload, retain, expires_at_ms, correlation FROM outbox"
            " WHERE link = 'store' ORDER BY id"
        ).fetchall():
            message = Publish(
                topic=topic,
                payload=payload,
                retain=bool(retain),
                expires_at_ms=expires_at_ms,
                correlation=correlation,
            )
            self._store_outbox.send(row_id, message)
        # What waits for HQ is read for its rot alone: later, that would end the agent each time.
        self._db.execute("SELECT topic, message_id, kind FROM outbox").fetchall()

    # --- called back --------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Returns the agent's present."""
        return self._road.present.now_ms if hasattr(self, "_road") else self._clock.now_ms()

    def _received(self, link: str, message: Incoming) -> None:
        self._loop.waiting.put(link, message)

    def _published(self, token: object) -> None:
        self._store_outbox.on_published(token)

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers a local command; called in the control thread.

        What reads or writes the state goes through `self._loop.calls`.
        """
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ping": self._answer_ping,
            "deadletter_retry": self._answer_retry,
            "devices": self._answer_devices,
            SHOW_EGRESS: self._answer_egress,
            SHOW_SHADOW_POLICY: lambda _request: {"shadow_policy": self._policy_shadow.report()},
            **self._model_switch.answers,
            **self._key_desk.answers(
                partial(self._loop.calls.call, timeout_s=CALL_TIMEOUT_S),
                now_ms=self.now_ms,
                rekeyed=self._rekeyed,
            ),
            **self._rights.answers,
        }
        answer = answers.get(str(request.get("do")))
        if answer is None:
            raise RequestRefused(
                "this agent does not know that request", hint="is it as new as the command?"
            )
        return answer(request)

    def _answer_ping(self, _request: dict[str, Any]) -> dict[str, Any]:
        return self._loop.calls.call(
            lambda: {"store": self.config.store, "version": __version__}, timeout_s=CALL_TIMEOUT_S
        )

    def _answer_devices(self, _request: dict[str, Any]) -> dict[str, Any]:
        return self._loop.calls.call(
            lambda: {
                "devices": [asdict(each) for each in self._standings(self.now_ms())],
                "problems": list(self._problems()),
            },
            timeout_s=CALL_TIMEOUT_S,
        )

    def _answer_egress(self, request: dict[str, Any]) -> dict[str, Any]:
        gate = self._hq_gate
        if gate is None:
            raise RequestRefused("no HQ is configured, nothing leaves", hint="see [hq]")
        n_texts = request.get("last", 0)
        return self._loop.calls.call(
            lambda: gate.told(n_texts if isinstance(n_texts, int) else 0, now_ms=self.now_ms()),
            timeout_s=CALL_TIMEOUT_S,
        )

    def _standings(self, now_ms: int) -> list[Standing]:
        return self._road.devices.standings(now_ms)

    def _answer_retry(self, request: dict[str, Any]) -> dict[str, Any]:
        retry = partial(retried, self._retries, request)
        return self._loop.calls.call(retry, timeout_s=CALL_TIMEOUT_S)

    def _rekeyed(self) -> None:
        self._people.rekeyed()
        self._state.reload()
        self._rebuild()

    def _use_bundle(self, bundle: Bundle | None) -> None:
        """Decides with another bundle from the next batch on; called in any other thread."""
        self._loop.calls.call(partial(self._put_to_use, bundle), timeout_s=CALL_TIMEOUT_S)
        if self._store_link.connected:
            self._tell_state()

    def _put_to_use(self, bundle: Bundle | None) -> dict[str, Any]:
        self._bundle = bundle
        catalogue = None if bundle is None else bundle.catalogue
        self._departments.use(catalogue)
        self._catalogue.use(catalogue, may_rank=_may_rank(bundle))
        self._use_plans(self._state.plans())
        self._road.present.use_scorer(self._make_scorer())
        if self._policy_shadow.is_comparing:
            self._policy_shadow.use_means(self._make_shadow_means())
        return {}

    def _use_plans(self, plans: tuple[PromotionPlan, ...]) -> None:
        """Has every model that scores know HQ's plans of promotions."""
        for bundle in (self._bundle, self._models.in_use.other):
            if bundle is not None:
                bundle.scorer.use_plans(plans)

    def _store_connection(self, up: bool) -> None:  # noqa: FBT001 - a callback's signature
        if up:
            self._tell_state()

    def _tell_state(self) -> None:
        topic = topics.agent_state(self.config.store)
        self._store_link.publish(topic, self._state_message("online"), retain=True)
        self._service.status(", ".join(self._problems()) or "all is well")

    def _progressed(self) -> None:
        now_s = self._clock.monotonic_s()
        self._rights.look(now_s)
        self._watchdog.got_on(now_s)
        self._look_at_hq()
        self._look_at_devices(now_s)

    def _look_at_hq(self) -> None:
        is_unheard = self._road.present.is_hq_unheard
        if is_unheard == self._was_hq_unheard:
            return
        self._was_hq_unheard = is_unheard
        log.warning("hq_unheard" if is_unheard else "hq_heard_again")
        if self._store_link.connected:
            self._tell_state()

    def _look_at_devices(self, now_s: float) -> None:
        if self.config.clock == "replay":
            # It tells nothing that depends on how fast it is played.
            return
        try:
            has_changed = self._watch.look(self.now_ms(), now_s)
        except sqlite3.Error:
            # The database's own trouble is told elsewhere; alarms wait for it.
            return
        if has_changed and self._store_link.connected:
            self._tell_state()

    def _idle(self, now_ms: int) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._next_purge_s or not now_ms:
            return
        self._next_purge_s = now_s + PURGE_EVERY_S
        self._save_counters()
        if not self._clock.is_trusted:
            # What seems old may be of today.
            return
        destroyed = self._people.destroy_past_keys(now_ms)
        if destroyed:
            log.info("day_keys_destroyed", extra={"fields": {"days": list(destroyed)}})
        try:
            deleted = purge(
                self._db,
                self.config.retention,
                now_ms=now_ms,
                campaigns=self._road.present.rules.campaigns,
            )
        except sqlite3.Error as error:
            # A full disk keeps what is old a little longer; it does not end the agent.
            log.warning("purge_failed", extra={"fields": {"error": str(error)}})
            return
        self._copy_after(deleted)
        if deleted:
            log.info("purged", extra={"fields": deleted})
            if "rule_set" in deleted:
                self._rule_desk.purged(self._unit)
            if deleted.keys() - APART:
                self._state.reload()
                self._make_wakes_again()
                self._dead_letters.count_again()
                self._tombstones.read_again()
            self._next_purge_s = now_s

    def _copy_after(self, deleted: dict[str, int]) -> None:
        """Has the second copy written without whoever was purged, once all of them are."""
        if any(table.startswith("visitor") for table in deleted):
            self._has_purged_people = True
        elif self._has_purged_people and not deleted:
            self._has_purged_people = False
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._second_copy.stage_anew()
                self._db.execute("COMMIT")
                self._second_copy.committed()
            except sqlite3.Error as error:
                log.warning("copy_failed", extra={"fields": {"error": str(error)}})
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    # --- small things -------------------------------------------------------------------------

    def _state_message(self, status: str) -> bytes:
        problems = self._problems()
        state = AgentState.model_validate(
            {
                "status": status,
                "store": self.config.store,
                "version": __version__,
                "health": "degraded" if problems else "good",
                "problems": problems,
            }
        )
        return state.model_dump_json().encode()

    def _problems(self) -> tuple[str, ...]:
        """Returns what is not well; also asked while the parts are still being made."""
        found = [] if self._bundle is not None else ["no_model"]
        loop: Loop | None = getattr(self, "_loop", None)
        if loop is not None and loop.trouble.problem:
            found.append(loop.trouble.problem)
        if loop is not None and not self._clock.is_in_step:
            found.append("clock_wrong")
        if hasattr(self, "_road") and self._road.present.is_hq_unheard:
            found.append(HQ_UNHEARD)
        found += self._opening.found.problems()
        watch: DeviceWatch | None = getattr(self, "_watch", None)
        found += (*self._desk.problems, *self._rule_desk.problems)
        return (*found, *(() if watch is None else watch.problems))

    def _gateway_state(self, now_ms: int) -> GatewayState:
        problems = self._problems()
        # A replay's HQ rows must not depend on how often the process was started.
        is_replay = self.config.clock == "replay"
        counters = {} if is_replay else self._counters()
        return GatewayState(
            state_id=f"{self.config.store}.state.{now_ms // SECOND_MS}",
            store=self.config.store,
            at=datetime_from_ms(now_ms),
            version=__version__,
            model=None if self._bundle is None else self._bundle.version,
            health="degraded" if problems else "good",
            problems=kinds_of(problems),
            counters=counters,
            devices=() if is_replay else self._told_devices(now_ms),
        )

    def _told_devices(self, now_ms: int) -> tuple[DeviceState, ...]:
        found = self._standings(now_ms)[:DEVICES_MAX]
        return tuple(told_of(each, k=self.config.policy.k, key=self._label_key) for each in found)

    def _meta(self, key: str) -> int:
        with reading_own_rows(self.config.database):
            return int(self._meta_text(key) or 0)

    def _meta_text(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _counters(self) -> dict[str, int]:
        compared = {f"shadow_{name}": n for name, n in self._shadow.counts.items()}
        return {**self._road.counters, **compared}

    def _saved_counters(self) -> dict[str, int]:
        rows = self._db.execute("SELECT key, value FROM meta WHERE key LIKE 'counter.%'")
        with reading_own_rows(self.config.database):
            return {key.partition(".")[2]: int(value) for key, value in rows}

    def _save_counters(self) -> None:
        rows = [(f"counter.{name}", str(n)) for name, n in self._road.counters.items()]
        compared = self._shadow.saved()
        if compared is not None:
            rows.append(("shadow", compared))
        beside = self._policy_shadow.saved()
        if beside is not None:
            rows.append((SHADOW_POLICY, beside))
        with suppress(Exception), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", rows)
            self._db.executemany(
                "INSERT OR REPLACE INTO device (source, last_at_ms, record) VALUES (?, ?, ?)",
                self._road.devices.unsaved(),
            )


class _RoadClock:
    """The agent's present, as the outbox needs it: the road's, not the wall's."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def now_ms(self) -> int:
        return self._agent.now_ms()

    def monotonic_s(self) -> float:
        return self._agent._clock.monotonic_s()  # noqa: SLF001 - a part of the agent


def _may_rank(bundle: Bundle | None) -> Callable[[ProductId], bool]:
    return _nothing if bundle is None else bundle.scorer.knows


def _nothing(_product: ProductId) -> bool:
    return False


def _reserve_of(config: Config) -> Reserve:
    return Reserve(Path(config.state.directory) / "reserve")


def _public_keys(keys: dict[str, str]) -> dict[str, Ed25519PublicKey]:
    return {
        name: Ed25519PublicKey.from_public_bytes(raw_key(text, f"hq.keys.{name}"))
        for name, text in keys.items()
    }


def _subscriptions(config: Config) -> tuple[Subscription, ...]:
    store = config.store
    if config.clock == "replay":
        # One filter: a broker may keep order within a filter only (the embedded one does), and
        # a replay's ticks must not overtake its events.
        return (Subscription(topic_filter=f"store/{store}/#", no_local=True),)
    filters = (
        topics.EVENT_FILTER,
        topics.FEEDBACK_FILTER,
        topics.STAFF_FEEDBACK_FILTER,
        topics.REQUEST,
        topics.OFFER_REQUEST,
    )
    return tuple(Subscription(topic_filter=each.format(store=store)) for each in filters)


def _road_settings(config: Config) -> RoadSettings:
    return RoadSettings(
        store=StoreId(config.store),
        zone=config.zone_info,
        locale=config.locale,
        currency=config.currency,
        seed=config.seed,
        policy=config.policy,
        retention=config.retention,
        layout=layout_of(config),
        version=__version__,
        batch_events=config.ingest.batch_events,
        quiet_wait_ms=config.ingest.quiet_wait_ms,
        hold_back_ms=round(config.ingest.hold_back_s * SECOND_MS),
        queue_messages=config.ingest.queue_messages,
        max_message_bytes=config.ingest.max_message_bytes,
        has_hq=config.hq is not None,
        outbox_max_bytes=0 if config.hq is None else config.hq.outbox_max_mb * 1_000_000,
        is_replay=config.clock == "replay",
    )
