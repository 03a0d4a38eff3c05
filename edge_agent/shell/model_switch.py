"""What an operator, or a comparison's verdict, does with the bundles of the running agent.

Everything here runs in the control thread or the shadow's; the core thread only puts another
bundle to use, between two batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.errors import RequestRefused
from edge_agent.shell.control import INSTALL_MODEL, ROLL_MODEL_BACK, SHOW_MODEL
from edge_agent.shell.installed_models import LIVE, SHADOW
from edge_agent.shell.scorers import ModelScorer
from edge_agent.shell.shadow import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.shell.bundles import Bundle
    from edge_agent.shell.installed_models import InstalledModels, InUse
    from edge_agent.shell.shadow import Shadow

Answer = dict[str, Any]


class ModelSwitch:
    """Answers the requests about bundles and keeps the comparison in step with them."""

    def __init__(
        self,
        models: InstalledModels,
        shadow: Shadow,
        *,
        use: Callable[[Bundle | None], None],
        prepare: Callable[[Bundle], None],
    ) -> None:
        """Sets up the switch.

        Args:
            models: The bundles in use.
            shadow: Compares the live one with another.
            use: Has the core thread decide with another bundle; returns when it does.
            prepare: Tells a bundle that is compared what HQ plans to promote.
        """
        self._models = models
        self._shadow = shadow
        self._use = use
        self._prepare = prepare
        self._live = models.in_use.live
        self.answers: dict[str, Callable[[Answer], Answer]] = {
            SHOW_MODEL: self._show,
            INSTALL_MODEL: self._install,
            ROLL_MODEL_BACK: self._roll_back,
        }

    def begin(self, *, saved: str | None) -> None:
        """Begins the comparison that the choice asks for, with what was counted before."""
        self._compare(self._models.in_use, saved=saved)

    def _show(self, _request: Answer) -> Answer:
        return {**self._models.show(), "comparison": self._shadow.report()}

    def _install(self, request: Answer) -> Answer:
        role = str(request.get("as"))
        if role not in {LIVE, SHADOW}:
            raise RequestRefused(f"a bundle is installed as {LIVE} or as {SHADOW}")
        return self._models.install(str(request.get("staged")), role=role, switch=self._switch)

    def _roll_back(self, _request: Answer) -> Answer:
        return self._models.roll_back(switch=self._switch)

    def _switch(self, in_use: InUse) -> None:
        if in_use.live is not self._live:
            self._use(in_use.live)
            self._live = in_use.live
        self._compare(in_use)

    def _compare(self, in_use: InUse, *, saved: str | None = None) -> None:
        if in_use.other is None:
            self._shadow.watch(None)
            return
        self._prepare(in_use.other)
        watch = Watch(
            name=in_use.other_name,
            role=in_use.role,
            scorer=ModelScorer(in_use.other),
            worse=self._withdraw if in_use.role == SHADOW else self._take_back,
            proven=self._trust,
        )
        self._shadow.watch(watch, saved=saved)

    def _withdraw(self) -> None:
        self._models.withdraw_shadow(switch=self._switch)

    def _take_back(self) -> None:
        self._models.roll_back(switch=self._switch)

    def _trust(self) -> None:
        self._models.trust_live()
        self._shadow.watch(None)
