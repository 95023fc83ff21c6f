"""Budgets by what they are counted on; what a store does with one is in the contract suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select

from flask_otpauth.config import read
from flask_otpauth.crypto import index
from flask_otpauth.errors import RateLimited
from flask_otpauth.guard import Guard, claimed, nobody, owned, reserved
from flask_otpauth.stores import Database, SqlGuard, tables_for
from flask_otpauth.types import Identifier, Kind, Purpose

pytestmark = pytest.mark.core

NOW = 1_800_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
ANN = Identifier(kind=Kind.USERNAME, value="ann")
MAIL = Identifier(kind=Kind.EMAIL, value="ann@example.org")
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
PHONE = "phone:+972508464336"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(
        Database(f"sqlite:///{tmp_path}/budgets.sqlite3", tables_for(MetaData()), create=True, ours=True)
    ) as opened:
        yield opened


@pytest.fixture
def make_guard(database: Database) -> Callable[..., Guard]:
    def make(**config: object) -> Guard:
        settings, faults = read({f"OTPAUTH_{name}": value for name, value in config.items()})
        assert not faults
        return Guard(SqlGuard(database), settings, database.unit)

    return make


@pytest.fixture
def guard(make_guard: Callable[..., Guard]) -> Guard:
    return make_guard(ACCOUNT_LIMITS="2 per 15 minutes", LOGIN_LIMITS="2 per 15 minutes",
                      LOGIN_ACCOUNT_LIMITS="3 per day", SEND_LIMITS="5 per 10 minutes")  # fmt: skip


def spent(call: Callable[[], object]) -> int:
    """Give the seconds that a refusal tells."""
    with pytest.raises(RateLimited) as caught:
        call()
    return caught.value.retry_after


def test_accounts_are_named_by_what_they_are() -> None:
    digits = index("identifier", "email:ann@example.org").hex()
    assert claimed(MAIL) == f"i:{digits}"
    assert nobody(MAIL) == f"d:{digits}"
    assert (owned("7"), reserved("7")) == ("u:7", "k:7")


# --- codes --------------------------------------------------------------------------------------------------------


def test_a_failed_code_counts_on_the_account_until_the_window_has_passed(guard: Guard) -> None:
    guard.open_codes("u:1", NOW)
    first = guard.charge_code("u:1", NOW + 1, known=False)
    assert first.key == index("code", "u:1")
    guard.charge_code("u:1", NOW + 1, known=False)
    assert spent(lambda: guard.charge_code("u:1", NOW + 1000, known=False)) == 900
    guard.charge_code("u:1", NOW + 1 + 15 * MINUTE, known=False)


def test_a_guess_stays_counted_whatever_becomes_of_the_work_around_it(guard: Guard, database: Database) -> None:
    guard.open_codes("u:1", NOW)

    def guess() -> None:
        guard.charge_code("u:1", NOW, known=False)
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            database.unit(guess)
    assert spent(lambda: guard.charge_code("u:1", NOW, known=False)) == 900


def test_an_account_that_was_never_opened_has_no_guesses_for_strangers(guard: Guard) -> None:
    assert spent(lambda: guard.charge_code("u:1", NOW, known=False)) == 900
    guard.open_codes("u:1", NOW)
    guard.charge_code("u:1", NOW, known=False)


def test_known_clients_have_a_budget_that_strangers_cannot_spend(guard: Guard) -> None:
    guard.open_codes("u:1", NOW)
    for known in (False, True):
        for _ in range(2):
            guard.charge_code("u:1", NOW, known=known)
        assert spent(lambda known=known: guard.charge_code("u:1", NOW, known=known)) == 900  # type: ignore[misc]
    # Its row is another account's in nothing.
    assert guard.charge_code("u:2", NOW, known=True).key == index("code", "u:2", "known")


def test_refunded_codes_cost_nothing(guard: Guard) -> None:
    guard.open_codes("u:1", NOW)
    guard.refund(*(guard.charge_code("u:1", NOW, known=False) for _ in range(2)))
    for _ in range(2):
        guard.charge_code("u:1", NOW, known=False)


# --- passwords ----------------------------------------------------------------------------------------------------


def test_a_strangers_password_counts_in_three_places(guard: Guard) -> None:
    charges, within = guard.charge_password(ANN, HERE, "u:1", NOW, known=False)
    assert within
    assert [charge.key for charge in charges] == [
        index("password", "username:ann", HERE),
        index("password", "username:ann"),
        index("password", "u:1"),
    ]


def test_a_known_clients_password_counts_on_a_budget_of_the_account_that_no_stranger_spends(guard: Guard) -> None:
    charges, within = guard.charge_password(ANN, None, "u:1", NOW, known=True)
    assert within
    assert [charge.key for charge in charges] == [
        index("password", "username:ann", ""),
        index("password", "u:1", "known"),
    ]
    for address in (THERE, ELSEWHERE):
        assert guard.charge_password(ANN, address, "u:1", NOW, known=True)[1]
    assert not guard.charge_password(ANN, HERE, "u:1", NOW, known=True)[1]


def test_the_passwords_of_a_step_up_count_apart(guard: Guard) -> None:
    charges = guard.charge_step_up("u:1", HERE, NOW)
    assert [charge.key for charge in charges] == [
        index("step-up password", "u:1", HERE),
        index("step-up password", "u:1"),
    ]
    guard.charge_step_up("u:1", HERE, NOW)
    assert spent(lambda: guard.charge_step_up("u:1", HERE, NOW)) == 900
    guard.charge_step_up("u:1", None, NOW)
    assert spent(lambda: guard.charge_step_up("u:1", THERE, NOW)) == 86_400
    guard.charge_step_up("u:2", HERE, NOW)
    assert guard.charge_password(ANN, HERE, "u:1", NOW, known=False)[1]


def test_the_password_of_a_step_up_that_is_refused_charges_nothing(guard: Guard) -> None:
    for address in (HERE, THERE, ELSEWHERE):
        guard.charge_step_up("u:1", address, NOW)
    assert spent(lambda: guard.charge_step_up("u:1", HERE, NOW)) == 86_400
    guard.forgive("u:1")
    guard.charge_step_up("u:1", HERE, NOW)
    assert spent(lambda: guard.charge_step_up("u:1", HERE, NOW)) == 900


def test_each_address_has_its_passwords_until_the_identifiers_are_spent(guard: Guard) -> None:
    for _ in range(2):
        guard.charge_password(ANN, HERE, "u:1", NOW, known=False)
    assert spent(lambda: guard.charge_password(ANN, HERE, "u:1", NOW, known=False)) == 900
    guard.charge_password(ANN, THERE, "u:1", NOW, known=False)
    assert spent(lambda: guard.charge_password(ANN, ELSEWHERE, "u:1", NOW, known=False)) == 86_400
    # A known client goes on from its own address.
    assert guard.charge_password(ANN, ELSEWHERE, "u:1", NOW, known=True)[1]


def test_a_password_that_is_refused_charges_nothing(guard: Guard) -> None:
    for address in (HERE, HERE, THERE):
        guard.charge_password(ANN, address, "u:1", NOW, known=False)
    for _ in range(3):
        spent(lambda: guard.charge_password(ANN, ELSEWHERE, "u:1", NOW, known=False))
    for _ in range(2):
        guard.charge_password(ANN, ELSEWHERE, "u:1", NOW, known=True)


def test_an_account_spent_by_its_other_identifier_is_no_error(guard: Guard) -> None:
    for address in (HERE, HERE, THERE):
        guard.charge_password(ANN, address, "u:1", NOW, known=False)
    charges, within = guard.charge_password(MAIL, HERE, "u:1", NOW, known=False)
    assert not within
    assert [charge.key for charge in charges] == [index("password", MAIL.key, HERE), index("password", MAIL.key)]
    assert guard.charge_password(MAIL, THERE, "u:2", NOW, known=False)[1]


# --- messages -----------------------------------------------------------------------------------------------------


def test_two_of_five_messages_are_kept_for_known_clients(guard: Guard) -> None:
    for _ in range(3):
        assert guard.charge_send(PHONE, NOW, known=False).key == index("send", PHONE)
    assert spent(lambda: guard.charge_send(PHONE, NOW, known=False)) == 600
    for _ in range(2):
        guard.charge_send(PHONE, NOW, known=True)
    assert spent(lambda: guard.charge_send(PHONE, NOW, known=True)) == 600
    guard.charge_send("phone:+972508464337", NOW, known=False)


def test_requests_by_what_was_typed_and_from_where_have_a_budget_apart(guard: Guard) -> None:
    for _ in range(3):
        assert guard.charge_ask(MAIL.key, HERE, NOW, known=False).key == index("ask", MAIL.key, HERE)
    assert spent(lambda: guard.charge_ask(MAIL.key, HERE, NOW, known=False)) == 600
    for _ in range(2):
        guard.charge_ask(MAIL.key, HERE, NOW, known=True)
    assert spent(lambda: guard.charge_ask(MAIL.key, HERE, NOW, known=True)) == 600
    guard.charge_ask(ANN.key, HERE, NOW, known=False)
    guard.charge_ask(MAIL.key, THERE, NOW, known=False)
    assert guard.charge_ask(MAIL.key, None, NOW, known=False).key == index("ask", MAIL.key, "")
    guard.charge_send(MAIL.key, NOW, known=False)


def test_failed_calls_of_a_gateway_are_forgiven_as_often_as_messages_may_be_sent(
    guard: Guard, database: Database
) -> None:
    assert [guard.forgives_failure(PHONE, NOW) for _ in range(6)] == [True] * 5 + [False]
    with database.read() as connection:
        keys = set(connection.scalars(select(database.tables.guard.c.key)))
    assert keys == {index("failed call", PHONE)}
    assert guard.forgives_failure("phone:+972508464337", NOW)
    guard.charge_send(PHONE, NOW, known=False)


def test_there_is_one_request_per_cooldown_purpose_name_and_place(make_guard: Callable[..., Guard]) -> None:
    guard = make_guard(RESEND_COOLDOWN=40)
    first = guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW + 1, known=False)
    assert first.key == index("cooldown", "login", PHONE, HERE)
    with pytest.raises(RateLimited) as caught:
        guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW + 990, known=False)
    # Never a second that is still too early.
    assert caught.value.members == {"retry_after": 40, "resend_at": "2027-01-15T08:00:41Z"}
    assert guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW, known=True).key == index(
        "cooldown", "login", PHONE, HERE, "known"
    )
    guard.charge_cooldown(Purpose.RESET, PHONE, HERE, NOW, known=False)
    guard.charge_cooldown(Purpose.LOGIN, MAIL.key, HERE, NOW, known=False)
    guard.charge_cooldown(Purpose.LOGIN, PHONE, THERE, NOW, known=False)
    nowhere = guard.charge_cooldown(Purpose.LOGIN, PHONE, None, NOW, known=False)
    assert nowhere.key == index("cooldown", "login", PHONE, "")
    guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW + 1 + 40_000, known=False)


def test_a_destination_rests_for_a_cooldown_whoever_asks(make_guard: Callable[..., Guard], database: Database) -> None:
    guard = make_guard(RESEND_COOLDOWN=40)
    assert not guard.rests(Purpose.LOGIN, PHONE, NOW, known=False)
    assert guard.rests(Purpose.LOGIN, PHONE, NOW + 39_999, known=False)
    assert not guard.rests(Purpose.LOGIN, PHONE, NOW, known=True)
    assert guard.rests(Purpose.LOGIN, PHONE, NOW, known=True)
    assert not guard.rests(Purpose.CONFIRM, PHONE, NOW, known=False)
    assert not guard.rests(Purpose.LOGIN, MAIL.key, NOW, known=False)
    assert not guard.rests(Purpose.LOGIN, PHONE, NOW + 40_000, known=False)
    with database.read() as connection:
        keys = set(connection.scalars(select(database.tables.guard.c.key)))
    assert {index("rest", "login", PHONE), index("rest", "login", PHONE, "known")} <= keys


def test_messages_of_a_unit_that_failed_cost_nothing(guard: Guard, database: Database) -> None:
    def work() -> None:
        guard.charge_send(PHONE, NOW, known=True)
        guard.charge_ask(MAIL.key, HERE, NOW, known=True)
        guard.forgives_failure(PHONE, NOW)
        guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW, known=False)
        raise LookupError

    with pytest.raises(LookupError):
        database.unit(work)
    for _ in range(5):
        guard.charge_send(PHONE, NOW, known=True)
        guard.charge_ask(MAIL.key, HERE, NOW, known=True)
        assert guard.forgives_failure(PHONE, NOW)
    guard.charge_cooldown(Purpose.LOGIN, PHONE, HERE, NOW, known=False)


def test_an_owner_gets_one_notice_of_a_kind_per_hour(guard: Guard) -> None:
    assert guard.charge_notice("locked", "1", NOW).key == index("notice", "locked", "1")
    assert spent(lambda: guard.charge_notice("locked", "1", NOW)) == 3600
    guard.charge_notice("new_client", "1", NOW)
    guard.charge_notice("locked", "2", NOW)
    guard.charge_notice("locked", "1", NOW + HOUR)


def test_an_owner_hears_of_wrong_codes_once_a_day_has_as_many_as_a_challenge_has_attempts(
    make_guard: Callable[..., Guard],
) -> None:
    guard = make_guard(MAX_ATTEMPTS=3)
    assert [guard.alarms("u:1", NOW + turn) for turn in range(3)] == [False, False, True]
    assert not guard.alarms("u:2", NOW)
    assert not guard.alarms("u:1", NOW + 86_400_000)
    assert make_guard(MAX_ATTEMPTS=1).alarms("u:3", NOW)


def test_turns_are_of_one_account(guard: Guard, database: Database) -> None:
    database.unit(lambda: guard.take_turn("u:1", NOW))
    with database.read() as connection:
        keys = connection.scalars(select(database.tables.guard.c.key)).all()
    assert keys == [index("turn", "u:1")]


# --- forgiving ----------------------------------------------------------------------------------------------------


def test_forgiving_gives_back_codes_and_passwords_of_one_account(guard: Guard, database: Database) -> None:
    accounts = ("u:1", claimed(MAIL), "u:2")
    for account in accounts:
        guard.open_codes(account, NOW)
        for known in (False, True):
            guard.charge_code(account, NOW, known=known)
    for typed, address, account in ((ANN, HERE, "u:1"), (MAIL, HERE, "u:1"), (ANN, THERE, "u:2")):
        guard.charge_password(typed, address, account, NOW, known=False)
    for account in ("u:1", "u:2"):
        guard.charge_password(ANN, ELSEWHERE, account, NOW, known=True)
        guard.charge_step_up(account, None, NOW)
    guard.forgive("u:1", [MAIL])
    table = database.tables.guard
    with database.read() as connection:
        kept = {row.key for row in connection.execute(select(table)) if row.log.strip("|0")}
    assert kept == {
        index("code", "u:2"),
        index("code", "u:2", "known"),
        index("password", "username:ann", HERE),
        index("password", "username:ann", THERE),
        index("password", "username:ann"),
        index("password", "email:ann@example.org", HERE),
        index("password", "u:2"),
        index("password", "username:ann", ELSEWHERE),
        index("password", "u:2", "known"),
        index("step-up password", "u:1", ""),
        index("step-up password", "u:2", ""),
        index("step-up password", "u:2"),
    }


def test_forgiving_is_all_or_nothing(guard: Guard, database: Database) -> None:
    guard.open_codes("u:1", NOW)
    for _ in range(2):
        guard.charge_code("u:1", NOW, known=False)

    def work() -> None:
        guard.forgive("u:1")
        raise LookupError

    with pytest.raises(LookupError):
        database.unit(work)
    spent(lambda: guard.charge_code("u:1", NOW, known=False))
