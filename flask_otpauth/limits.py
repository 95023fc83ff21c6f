"""Budgets per client address, counted by the ``limits`` library on the host's storage or on one of our own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any, Protocol, cast

from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import ConfigurationError as UnusableStorage
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import STRATEGIES, RateLimiter

from .config import Settings
from .errors import ConfigurationError, RateLimited, ServiceUnavailable
from .types import Window

log: logging.Logger = logging.getLogger("flask_otpauth")

NAMESPACE = "otpauth"
"""First part of all keys, so that none is ever one of the host's own limits."""


class Strategy(Protocol):
    """What counts."""

    def current(self) -> RateLimiter | None:
        """Give the strategy that counts now; None while counting is switched off."""
        ...

    def fallback(self, error: Exception) -> RateLimiter | None:
        """
        Say how to go on when the storage raised: with another strategy, or without counting (None).

        Raises:
            ServiceUnavailable: Not at all.
        """
        ...


@dataclass(frozen=True, slots=True)
class OwnStrategy:
    """A strategy of ours: without its storage nothing is let through."""

    limiter: RateLimiter

    def current(self) -> RateLimiter | None:
        return self.limiter

    def fallback(self, error: Exception) -> RateLimiter | None:
        raise ServiceUnavailable from error


@dataclass(frozen=True, slots=True)
class HostStrategy:
    """
    The strategy of the host's own ``Limiter``, which is only read.

    What the host switches at run time (``limiter.enabled``, a storage that it found dead) holds here too.
    """

    limiter: Limiter

    def current(self) -> RateLimiter | None:
        enabled: object = cast("Any", self.limiter).enabled
        return self.limiter.limiter if enabled else None

    def fallback(self, error: Exception) -> RateLimiter | None:
        # Flask-Limiter has no public way to ask what the host chose for a dead storage.
        substitute = cast("RateLimiter | None", getattr(self.limiter, "_fallback_limiter", None))
        if substitute is not None or getattr(self.limiter, "_swallow_errors", False):
            return substitute
        raise ServiceUnavailable from error


class Limits:
    """
    Budgets of the settings: "send", "verify" and "login" per address, and one of all messages with codes.

    An IPv6 address counts as its /64, an IPv4-mapped one as IPv4. A refused request takes nothing from any window;
    each window is exact under concurrency as far as the strategy is (a moving window is).
    """

    def __init__(self, settings: Settings, strategy: Strategy, enabled: bool = True) -> None:
        self._strategy = strategy
        self._enabled = enabled
        # Apps that share one Redis don't share budgets.
        self._app = settings.name
        self._items: dict[str, tuple[RateLimitItem, ...]] = {
            "send": _items(settings.send_ip_limits),
            "verify": _items(settings.verify_ip_limits),
            "login": _items(settings.login_ip_limits),
        }
        self._total = _items(settings.send_total or ())
        self._turn = threading.Lock()

    def hit(self, name: str, address: str | None, /) -> None:
        """
        Count a request of the kind "send", "verify" or "login"; a program (no address) has no budget to spend.

        Raises:
            RateLimited: A window of the address is full.
            ServiceUnavailable: The storage is away.
        """
        if self._enabled and address is not None:
            self._take(self._items[name], name, client_network(address))

    def total(self) -> None:
        """
        Count one message with a code, where ``OTPAUTH_SEND_TOTAL`` is set.

        Raises:
            RateLimited: A window is full.
            ServiceUnavailable: The storage is away.
        """
        if self._enabled and self._total:
            self._take(self._total, "total", "")

    def _take(self, items: tuple[RateLimitItem, ...], name: str, address: str) -> None:
        limiter = self._strategy.current()
        if limiter is None:
            return
        key = (self._app, name, address)
        try:
            wait = self._wait_in_turn(limiter, items, key)
        except Exception as error:  # noqa: BLE001 - each storage has errors of its own; none may let a request through
            log.error("The storage of limits is away: %s", type(error).__name__)  # noqa: TRY400 - it may hold a password
            substitute = self._strategy.fallback(error)
            if substitute is None:
                return
            wait = self._wait_in_turn(substitute, items, key)
        if wait is not None:
            raise RateLimited(wait)

    def _wait_in_turn(
        self, limiter: RateLimiter, items: tuple[RateLimitItem, ...], key: tuple[str, str, str]
    ) -> int | None:
        # The library's storage in memory isn't safe among threads: two that meet start its one timer twice, and raise.
        with self._turn if isinstance(limiter.storage, MemoryStorage) else nullcontext():
            return _wait(limiter, items, key)


def strategy_of(app: Flask) -> tuple[Strategy, bool, bool]:
    """
    Give what counts for an app, whether counting is on, and whether all its processes share the storage.

    The host's own ``Limiter`` where the app has one; else a strategy of ours from the same ``RATELIMIT_*`` keys. No
    ``Limiter`` of ours is put on the app: its hooks would run before each view of the host.

    Raises:
        ConfigurationError: The storage or the strategy can't be made.
    """
    config = cast("Mapping[str, Any]", app.config)
    enabled = bool(config.get("RATELIMIT_ENABLED", True))
    found = cast("set[Limiter]", app.extensions.get("limiter", set()))
    hosts = sorted((one for one in found if one.initialized), key=_is_shared)
    if hosts:
        return HostStrategy(hosts[-1]), enabled, _is_shared(hosts[-1])
    limiter = _own(config)
    return OwnStrategy(limiter), enabled, not isinstance(limiter.storage, MemoryStorage)


def client_network(address: str) -> str:
    """Give what budgets of an address are counted on: IPv4, or the /64 of IPv6 (the least that one subscriber has)."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return _without_port(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))


def _without_port(address: str) -> str:
    # Some proxies forward "192.0.2.1:5012" or "[2001:db8::1]:5012": a port must not be a budget of its own.
    if address.startswith("["):
        inner = address[1:].partition("]")[0]
        return client_network(inner) if _is_address(inner) else address
    host = address.rpartition(":")[0]
    return host if _is_address(host) else address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _wait(limiter: RateLimiter, items: tuple[RateLimitItem, ...], key: tuple[str, str, str]) -> int | None:
    """Take one from each window; or take nothing, and give the seconds until the one that is full has room."""
    full = _first_full(limiter, items, key)
    if full is None:
        return None
    # The library counts by the wall clock, whatever the app's clock says.
    wait = limiter.get_window_stats(full, *key).reset_time - time.time()
    return min(max(1, ceil(wait)), full.get_expiry())


def _first_full(
    limiter: RateLimiter, items: tuple[RateLimitItem, ...], key: tuple[str, str, str]
) -> RateLimitItem | None:
    """Take one from each window, or tell which is full and take nothing."""
    # The first hit is its own test; a window that fills up between test and hit refuses all the same.
    for item in items[1:]:
        if not limiter.test(item, *key):
            return item
    for item in items:
        if not limiter.hit(item, *key):
            return item
    return None


def _items(windows: tuple[Window, ...]) -> tuple[RateLimitItem, ...]:
    return tuple(RateLimitItemPerSecond(one.limit, one.seconds, namespace=NAMESPACE) for one in windows)


def _is_shared(limiter: Limiter) -> bool:
    return not isinstance(limiter.storage, MemoryStorage)


def _own(config: Mapping[str, Any]) -> RateLimiter:
    uri = str(config.get("RATELIMIT_STORAGE_URI") or "memory://")
    strategy = str(config.get("RATELIMIT_STRATEGY") or "moving-window")
    options: dict[str, Any] = dict(config.get("RATELIMIT_STORAGE_OPTIONS") or {})
    if uri.startswith(("redis://", "rediss://", "redis+unix://")):
        # A dead server must not hold a login for the client's own five seconds a command.
        options = {"socket_connect_timeout": 1, "socket_timeout": 1, **options}
    if strategy not in STRATEGIES:
        known = ", ".join(sorted(STRATEGIES))
        raise ConfigurationError([f"RATELIMIT_STRATEGY is {strategy!r}; choose one of {known}."])
    try:
        storage = storage_from_string(uri, **options)
        return STRATEGIES[strategy](storage)
    except (UnusableStorage, NotImplementedError, TypeError, ValueError) as error:
        scheme = uri.partition(":")[0]
        fault = f"RATELIMIT_STORAGE_URI ({scheme}://...) can't be used: {error}; install its client or choose another."
        raise ConfigurationError([fault]) from error
