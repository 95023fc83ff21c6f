"""Budgets per address: in memory, on a real Redis, and on the host's own Limiter."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask import Flask
from flask_limiter import Limiter
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from flask_otpauth.config import read
from flask_otpauth.errors import ConfigurationError, RateLimited, ServiceUnavailable
from flask_otpauth.limits import Limits, client_network, strategy_of
from flask_otpauth.types import AddressLimits

REDIS = "redis://127.0.0.1:6379/0"
AWAY = "redis://127.0.0.1:1/0"

Maker = Callable[..., Flask]


def limits_of(app: Flask, **config: Any) -> Limits:
    settings, faults = read({f"OTPAUTH_{name.upper()}": value for name, value in config.items()})
    assert faults == []
    strategy, enabled, _ = strategy_of(app)
    return Limits(settings, strategy, enabled)


@pytest.fixture
def prefix() -> Generator[str, None, None]:
    """Give a prefix of keys of one's own on a Redis that answers, and take the keys away at the end."""
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError:
        client.close()
        if "CI" in os.environ:
            pytest.fail("no Redis answers on 127.0.0.1:6379")
        pytest.skip("no Redis answers on 127.0.0.1:6379")
    name = f"test-{secrets.token_hex(6)}"
    yield name
    for key in client.scan_iter(f"{name}*"):
        client.delete(key)
    client.close()


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest, make_app: Maker) -> Flask:
    if request.param == "memory":
        return make_app()
    options = {"key_prefix": request.getfixturevalue("prefix")}
    return make_app(RATELIMIT_STORAGE_URI=REDIS, RATELIMIT_STORAGE_OPTIONS=options)


def test_they_implement_the_port(app: Flask) -> None:
    limits: AddressLimits = limits_of(app)
    limits.hit("verify", "192.0.2.1")


@pytest.mark.parametrize("name", ["send", "verify", "login"])
def test_each_kind_has_the_budget_of_its_setting(app: Flask, name: str) -> None:
    limits = limits_of(app, **{f"{name}_ip_limits": "3 per minute"})
    for _ in range(3):
        limits.hit(name, "192.0.2.1")
    with pytest.raises(RateLimited) as caught:
        limits.hit(name, "192.0.2.1")
    assert 55 <= caught.value.retry_after <= 60
    for other in {"send", "verify", "login"} - {name}:
        limits.hit(other, "192.0.2.1")
    limits.hit(name, "192.0.2.2")


def test_a_program_has_no_budget(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="1 per minute")
    for _ in range(5):
        limits.hit("send", None)


def test_a_refused_request_takes_nothing_from_another_window(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="2 per second; 3 per hour")
    for _ in range(2):
        limits.hit("send", "192.0.2.1")
    for _ in range(5):
        with pytest.raises(RateLimited):
            limits.hit("send", "192.0.2.1")
    time.sleep(1.1)
    limits.hit("send", "192.0.2.1")
    time.sleep(1.1)
    with pytest.raises(RateLimited) as caught:
        limits.hit("send", "192.0.2.1")
    assert caught.value.retry_after > 3500


def test_a_full_long_window_takes_nothing_from_a_short_one(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="3 per minute; 1 per hour")
    limits.hit("send", "192.0.2.1")
    for _ in range(5):
        with pytest.raises(RateLimited) as caught:
            limits.hit("send", "192.0.2.1")
        assert caught.value.retry_after > 3500


def test_the_wait_is_told_in_whole_seconds_of_at_least_one(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="1 per second")
    limits.hit("send", "192.0.2.1")
    with pytest.raises(RateLimited) as caught:
        limits.hit("send", "192.0.2.1")
    assert caught.value.retry_after == 1


def test_a_budget_is_exact_under_concurrency(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="20 per minute; 1000 per hour")

    def passes(_: int) -> bool:
        try:
            limits.hit("send", "192.0.2.1")
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(passes, range(100))) == 20


def test_threads_that_meet_in_memory_are_all_counted(make_app: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    # The storage keeps a timer and starts it in two steps: in between, another thread must not come.
    def keep(storage: MemoryStorage, timer: threading.Timer) -> None:
        vars(storage)["timer"] = timer
        time.sleep(0.005)

    monkeypatch.setattr(MemoryStorage, "timer", property(lambda storage: vars(storage)["timer"], keep), raising=False)
    limits = limits_of(make_app(), send_ip_limits="24 per minute")
    together = threading.Barrier(8)

    def hit(_: int) -> None:
        together.wait(10)
        limits.hit("send", "192.0.2.1")

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            time.sleep(0.1)  # a timer of 10 ms is over, and the next hit needs another
            list(pool.map(hit, range(8)))
    with pytest.raises(RateLimited):
        limits.hit("send", "192.0.2.1")


def test_the_whole_app_has_a_budget_if_set(app: Flask) -> None:
    limits = limits_of(app, send_total="2 per minute")
    limits.total()
    limits.total()
    with pytest.raises(RateLimited):
        limits.total()
    unlimited = limits_of(app)
    for _ in range(5):
        unlimited.total()


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1:5012", "192.0.2.1"),
        ("[2001:db8::1]:5012", "2001:db8::/64"),
        ("[nonsense]:1", "[nonsense]:1"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_addresses_are_counted_on_what_a_subscriber_has(address: str, network: str) -> None:
    assert client_network(address) == network


def test_one_network_shares_its_budget(app: Flask) -> None:
    limits = limits_of(app, send_ip_limits="2 per minute")
    limits.hit("send", "2001:db8:1:2::1")
    limits.hit("send", "2001:db8:1:2:ffff::1")
    with pytest.raises(RateLimited):
        limits.hit("send", "2001:db8:1:2::3")
    limits.hit("send", "2001:db8:1:3::1")


# --- our own storage ----------------------------------------------------------------------------------------------


def test_memory_is_the_default_and_not_shared(make_app: Maker) -> None:
    strategy, enabled, shared = strategy_of(make_app())
    assert isinstance(strategy.current(), MovingWindowRateLimiter)
    assert (enabled, shared) == (True, False)


def test_redis_is_shared_by_processes_and_not_by_apps(make_app: Maker, prefix: str) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=REDIS, RATELIMIT_STORAGE_OPTIONS={"key_prefix": prefix})
    assert strategy_of(app)[1:] == (True, True)
    limits_of(app, send_ip_limits="1 per minute", app_name="one").hit("send", "192.0.2.1")
    with pytest.raises(RateLimited):
        limits_of(app, send_ip_limits="1 per minute", app_name="one").hit("send", "192.0.2.1")
    limits_of(app, send_ip_limits="1 per minute", app_name="two").hit("send", "192.0.2.1")


def test_the_strategy_is_the_one_that_the_app_names(make_app: Maker) -> None:
    strategy, _, _ = strategy_of(make_app(RATELIMIT_STRATEGY="fixed-window"))
    assert isinstance(strategy.current(), FixedWindowRateLimiter)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"RATELIMIT_STRATEGY": "moving"}, "RATELIMIT_STRATEGY is 'moving'; choose one of"),
        ({"RATELIMIT_STORAGE_URI": "nosuch://host"}, "RATELIMIT_STORAGE_URI"),
        ({"RATELIMIT_STORAGE_URI": "redis://:secret@host:port/0"}, "RATELIMIT_STORAGE_URI (redis://...)"),
    ],
)
def test_a_storage_that_cannot_be_made_is_a_fault_of_the_configuration(
    make_app: Maker, config: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        limits_of(make_app(**config)).hit("send", "192.0.2.1")
    [fault] = caught.value.faults
    assert fault.startswith(word)
    assert "secret" not in fault


def test_no_hook_is_put_on_the_app(make_app: Maker) -> None:
    app = make_app()
    limits_of(app).hit("send", "192.0.2.1")
    assert "limiter" not in app.extensions
    assert (app.before_request_funcs, app.after_request_funcs) == ({}, {})


def test_counting_may_be_switched_off(make_app: Maker) -> None:
    limits = limits_of(make_app(RATELIMIT_ENABLED=False), send_ip_limits="1 per hour", send_total="1 per hour")
    for _ in range(5):
        limits.hit("send", "192.0.2.1")
        limits.total()


def test_without_its_storage_nothing_is_let_through(make_app: Maker, caplog: pytest.LogCaptureFixture) -> None:
    limits = limits_of(make_app(RATELIMIT_STORAGE_URI=AWAY), send_total="5 per hour")
    before = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        limits.hit("send", "192.0.2.1")
    with pytest.raises(ServiceUnavailable):
        limits.total()
    assert time.monotonic() - before < 3
    assert "The storage of limits is away: ConnectionError" in caplog.text


def test_a_storage_that_fails_when_it_is_asked_for_the_wait_lets_nothing_through(
    make_app: Maker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = limits_of(make_app(), send_ip_limits="1 per minute")
    limits.hit("send", "192.0.2.1")

    def away(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(MovingWindowRateLimiter, "get_window_stats", away)
    with pytest.raises(ServiceUnavailable):
        limits.hit("send", "192.0.2.1")
    assert "The storage of limits is away: ConnectionError" in caplog.text


# --- the host's own Limiter ---------------------------------------------------------------------------------------


def host_limiter(app: Flask, **options: Any) -> Limiter:
    return Limiter(lambda: "host", app=app, **{"storage_uri": "memory://", **options})


def test_the_hosts_own_limiter_counts(make_app: Maker) -> None:
    app = make_app()
    host = host_limiter(app, strategy="fixed-window")
    limits = limits_of(app, send_ip_limits="1 per minute")
    limits.hit("send", "192.0.2.1")
    assert strategy_of(app)[0].current() is host.limiter
    assert strategy_of(app)[1:] == (True, False)
    with pytest.raises(RateLimited):
        limits.hit("send", "192.0.2.1")
    host.reset()
    limits.hit("send", "192.0.2.1")


def test_the_hosts_views_keep_their_budgets(make_app: Maker) -> None:
    app = make_app()
    host = host_limiter(app)

    @app.get("/")
    @host.limit("2 per minute")
    def index() -> str:
        return "ok"

    limits = limits_of(app, send_ip_limits="50 per minute")
    for _ in range(20):
        limits.hit("send", "host")
    assert [app.test_client().get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_of_several_the_one_with_a_shared_storage_counts(make_app: Maker, prefix: str) -> None:
    app = make_app()
    host_limiter(app)
    shared = host_limiter(app, storage_uri=REDIS, storage_options={"key_prefix": prefix})
    host_limiter(app)
    strategy, _, is_shared = strategy_of(app)
    assert strategy.current() is shared.limiter
    assert is_shared


def test_the_host_switches_it_at_run_time(make_app: Maker) -> None:
    app = make_app()
    host = host_limiter(app)
    limits = limits_of(app, send_ip_limits="1 per hour")
    host.enabled = False
    for _ in range(3):
        limits.hit("send", "192.0.2.1")
    host.enabled = True
    limits.hit("send", "192.0.2.1")
    with pytest.raises(RateLimited):
        limits.hit("send", "192.0.2.1")


def test_a_limiter_that_was_made_switched_off_switches_ours_off(make_app: Maker) -> None:
    app = make_app()
    host_limiter(app, enabled=False)
    limits = limits_of(app, send_ip_limits="1 per hour")
    for _ in range(3):
        limits.hit("send", "192.0.2.1")


def test_without_the_hosts_storage_nothing_is_let_through(make_app: Maker) -> None:
    app = make_app()
    host_limiter(app, storage_uri=AWAY)
    with pytest.raises(ServiceUnavailable):
        limits_of(app).hit("send", "192.0.2.1")


def test_a_host_that_swallows_errors_lets_requests_through(make_app: Maker) -> None:
    app = make_app()
    host_limiter(app, storage_uri=AWAY, swallow_errors=True)
    limits = limits_of(app, send_ip_limits="1 per hour")
    for _ in range(3):
        limits.hit("send", "192.0.2.1")


def test_a_hosts_fallback_counts_in_memory(make_app: Maker) -> None:
    app = make_app()
    host_limiter(app, storage_uri=AWAY, in_memory_fallback_enabled=True)
    limits = limits_of(app, send_ip_limits="2 per hour")
    limits.hit("send", "192.0.2.1")
    limits.hit("send", "192.0.2.1")
    with pytest.raises(RateLimited):
        limits.hit("send", "192.0.2.1")
