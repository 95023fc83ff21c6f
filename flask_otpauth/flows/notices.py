"""Messages that tell an owner what happened to his account. They carry no code and nothing that a stranger typed."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DeliveryFailed, RateLimited
from ..types import Account, Caller, Draft, Instant, Kind
from .parts import Parts, Route


class Notices:
    """Tells owners, off the request, within a budget of its own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def locked(self, user_id: str | None, caller: Caller, now: Instant) -> None:
        """Tell the owner, where there is one, that codes of his account are refused for a while."""
        # All of it off the request, and for nobody too: it would take time for an account only (G4).
        self._parts.courier.later(lambda: self._tell_owner("notice_locked", user_id, caller, now))

    def wrong_code(self, user_id: str | None, caller: Caller, now: Instant) -> None:
        """Tell the owner that an unknown client had his right password, and only wrong codes (ASVS 5.0, 6.3.5)."""
        self._parts.courier.later(lambda: self._tell_owner("notice_wrong_code", user_id, caller, now))

    def new_device(self, user_id: str, caller: Caller, now: Instant) -> None:
        """Tell the owner that another client than those he had before has logged in; not of the very first one."""

        def work() -> None:
            # After the login: the client that was remembered for it is one of them.
            if self._parts.clients.several(user_id, now):
                self._tell_owner("notice_new_device", user_id, caller, now)

        self._parts.courier.later(work)

    def mfa_changed(self, user_id: str, enabled: bool, caller: Caller, now: Instant) -> None:
        """Tell the owner that his second factor was switched on or off (ASVS 5.0, 6.3.7)."""
        values = {"enabled": enabled}
        self._parts.courier.later(lambda: self._tell_owner("notice_mfa_changed", user_id, caller, now, values=values))

    def address_taken(self, holder: Account | None, route: Route, caller: Caller, now: Instant) -> None:
        """Tell the holder of an address, where there is one, that somebody tried to register with it."""

        def work() -> None:
            if holder is not None:
                self._tell("notice_address_taken", route, holder.id, caller, now)

        self._parts.courier.later(work)

    def _tell_owner(
        self,
        template: str,
        user_id: str | None,
        caller: Caller,
        now: Instant,
        *,
        values: Mapping[str, object] | None = None,
    ) -> None:
        account = self._parts.users.by_id(user_id) if user_id is not None else None
        routes = self._parts.routes(account, verified=True) if account is not None else []
        if account is not None and routes:
            # By e-mail where there is one: it costs nothing, and a text message may be read by whoever swapped the SIM.
            route = next((one for one in routes if one.kind is Kind.EMAIL), routes[0])
            self._tell(template, route, account.id, caller, now, values=values or {})

    def _tell(
        self,
        template: str,
        route: Route,
        user_id: str,
        caller: Caller,
        now: Instant,
        *,
        values: Mapping[str, object] | None = None,
    ) -> None:
        if not self._parts.settings.notices:
            return
        try:
            # "On" uses up nothing of "off", which may be somebody else's doing within the same hour.
            self._parts.guard.charge_notice(":".join((template, *map(str, (values or {}).values()))), user_id, now)
        except RateLimited:
            return
        draft = Draft(
            template=template,
            channel=route.channel,
            to=route.value,
            locale=caller.locale,
            user_id=user_id,
            values=values or {},
        )
        try:
            self._parts.courier.send(draft)
        except DeliveryFailed:
            return  # logged by the courier; a notice is not repeated
