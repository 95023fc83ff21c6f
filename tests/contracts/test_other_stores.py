"""What every ``ClientStore``, ``FlagStore`` and ``EventStore`` does."""

from __future__ import annotations

import secrets

from flask_otpauth.stores import SqlEvents
from flask_otpauth.types import Event, Flags
from tests.contracts.backends import Stores
from tests.contracts.races import in_threads
from tests.contracts.samples import NOW, key

DAY = 86_400_000


def user() -> str:
    return secrets.token_hex(8)


def test_a_client_is_known_to_the_user_it_logged_in(stores: Stores) -> None:
    cookie, mine, other = key(), user(), user()
    assert not stores.clients.known(cookie, mine, NOW)
    stores.clients.remember(cookie, mine, NOW, NOW + DAY)
    assert stores.clients.known(cookie, mine, NOW + DAY - 1)
    assert not stores.clients.known(cookie, mine, NOW + DAY)
    assert not stores.clients.known(cookie, other, NOW)
    assert not stores.clients.known(key(), mine, NOW)


def test_one_client_may_be_of_two_users_and_is_remembered_anew(stores: Stores) -> None:
    cookie, mine, other = key(), user(), user()
    stores.clients.remember(cookie, mine, NOW, NOW + DAY)
    stores.clients.remember(cookie, other, NOW, NOW + DAY)
    stores.clients.remember(cookie, mine, NOW + DAY, NOW + 2 * DAY)
    assert stores.clients.known(cookie, mine, NOW + DAY)
    stores.clients.forget_all(mine)
    assert not stores.clients.known(cookie, mine, NOW)
    assert stores.clients.known(cookie, other, NOW)


def test_whether_a_user_has_several_clients(stores: Stores) -> None:
    mine, other = user(), user()
    stores.clients.remember(key(), mine, NOW, NOW + 2 * DAY)
    stores.clients.remember(key(), other, NOW, NOW + 2 * DAY)
    assert not stores.clients.several(mine, NOW)
    stores.clients.remember(key(), mine, NOW, NOW + DAY)
    assert stores.clients.several(mine, NOW + DAY - 1)
    assert not stores.clients.several(mine, NOW + DAY)


def test_all_clients_of_a_user_are_forgotten_but_one(stores: Stores) -> None:
    mine, other, kept = user(), user(), key()
    for who, client in ((mine, kept), (mine, key()), (other, kept)):
        stores.clients.remember(client, who, NOW, NOW + DAY)
    stores.clients.forget_all(mine, but=kept)
    assert stores.clients.known(kept, mine, NOW)
    assert not stores.clients.several(mine, NOW)
    stores.clients.forget_all(mine)
    assert not stores.clients.known(kept, mine, NOW)
    assert stores.clients.known(kept, other, NOW)


def test_clients_past_their_time_are_purged(stores: Stores) -> None:
    stores.clients.purge(NOW * 2, 10_000)
    mine, kept = user(), key()
    for _ in range(3):
        stores.clients.remember(key(), mine, NOW, NOW + 1)
    stores.clients.remember(kept, mine, NOW, NOW + DAY)
    assert [stores.clients.purge(NOW + 2, 2) for _ in range(3)] == [2, 1, 0]
    assert stores.clients.known(kept, mine, NOW)


def test_a_user_without_flags_has_the_defaults(stores: Stores) -> None:
    assert stores.flags.flags(user()) == Flags()


def test_flags_are_set_one_by_one_and_forgotten_together(stores: Stores) -> None:
    mine, other = user(), user()
    stores.flags.set_flags(mine, email=key("mine"))
    stores.flags.set_flags(mine, mfa_enabled=True, phone=key("phone"))
    stores.flags.set_flags(other, mfa_enabled=True)
    stores.flags.set_flags(mine)
    assert stores.flags.flags(mine) == Flags(mfa_enabled=True, email=key("mine"), phone=key("phone"))
    stores.flags.set_flags(mine, mfa_enabled=False)
    assert stores.flags.flags(mine) == Flags(email=key("mine"), phone=key("phone"))
    stores.flags.forget(mine)
    assert stores.flags.flags(mine) == Flags()
    assert stores.flags.flags(other) == Flags(mfa_enabled=True)


def test_that_a_user_registered_himself_is_kept(stores: Stores) -> None:
    mine = user()
    stores.flags.set_flags(mine, registered=True)
    stores.flags.set_flags(mine, claimed="ann@example.org")
    assert stores.flags.flags(mine) == Flags(claimed="ann@example.org", registered=True)


def test_a_claim_is_kept_until_it_is_emptied(stores: Stores) -> None:
    mine = user()
    stores.flags.set_flags(mine, claimed="email:zoë@example.org")
    stores.flags.set_flags(mine, mfa_enabled=True)
    assert stores.flags.flags(mine) == Flags(mfa_enabled=True, claimed="email:zoë@example.org")
    stores.flags.set_flags(mine, claimed="")
    assert stores.flags.flags(mine) == Flags(mfa_enabled=True)


def test_first_flags_of_many_threads_are_all_kept(stores: Stores) -> None:
    mine = user()

    def work(number: int) -> None:
        if number % 2:
            stores.flags.set_flags(mine, email=key("e"))
        else:
            stores.flags.set_flags(mine, phone=key("p"))

    in_threads(10, work)
    assert stores.flags.flags(mine) == Flags(email=key("e"), phone=key("p"))


def test_events_come_back_as_they_were_newest_first(stores: Stores) -> None:
    mine = user()
    first = Event(name="otp_sent", at=NOW, user_id=mine, channel="sms", purpose="login", address="2001:db8::1")
    second = Event(name="otp_failed", at=NOW, user_id=mine, details={"attempts_left": 4, "who": "Zoë 🙂", "none": None})
    stores.events.record(first)
    stores.events.record(second)
    stores.events.record(Event(name="login_failed", at=NOW + 1))
    assert stores.events.recent(10, user_id=mine) == [second, first]
    assert stores.events.recent(1, user_id=mine) == [second]
    assert stores.events.recent(1) == [Event(name="login_failed", at=NOW + 1)]
    late = Event(name="otp_sent", at=NOW - 1, user_id=mine)
    stores.events.record(late)
    assert stores.events.recent(10, user_id=mine) == [second, first, late]
    assert SqlEvents(stores.database).recent(1, user_id=mine, offset=1) == [first]


def test_an_address_longer_than_any_is_cut(stores: Stores) -> None:
    mine = user()
    stores.events.record(Event(name="login_failed", at=NOW, user_id=mine, address="é" + "1" * 200))
    assert stores.events.recent(1, user_id=mine)[0].address == "é" + "1" * 63


def test_old_events_are_purged(stores: Stores) -> None:
    stores.events.purge(NOW * 2, 10_000)
    for at in range(3):
        stores.events.record(Event(name="otp_sent", at=at))
    assert [stores.events.purge(2, 1) for _ in range(3)] == [1, 1, 0]
    assert [event.at for event in stores.events.recent(10)] == [2]
