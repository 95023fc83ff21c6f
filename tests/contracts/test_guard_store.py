"""What every ``GuardStore`` does, races included (G3)."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_otpauth.types import Charge, GuardStore, Spent, Window
from tests.contracts import samples
from tests.contracts.backends import Backend, Stores
from tests.contracts.races import in_killed_process, in_processes, in_threads
from tests.contracts.samples import NOW, TEN, key

QUARTER = 900_000
THREE = (Window(limit=3, seconds=900),)


def opened(guard: GuardStore) -> bytes:
    budget = key()
    guard.open(budget, NOW)
    return budget


def take(guard: GuardStore, budget: bytes, *, at: int = NOW, windows: tuple[Window, ...] = THREE) -> Charge:
    outcome = guard.charge(budget, windows, at)
    assert isinstance(outcome, Charge), outcome
    return outcome


def test_a_budget_gives_its_limit_and_tells_when_there_is_more(guard: GuardStore) -> None:
    budget = opened(guard)
    for second in range(3):
        take(guard, budget, at=NOW + second * 1000)
    assert guard.charge(budget, THREE, NOW + 5000) == Spent(retry_at=NOW + QUARTER)
    assert guard.charge(budget, THREE, NOW + QUARTER - 1) == Spent(retry_at=NOW + QUARTER)
    take(guard, budget, at=NOW + QUARTER)
    assert guard.charge(budget, THREE, NOW + QUARTER) == Spent(retry_at=NOW + QUARTER + 1000)


def test_every_window_holds(guard: GuardStore) -> None:
    budget, hour = opened(guard), 3_600_000
    for number in range(60):
        # Two bursts of ten a day for three days: then the month's 60 are spent.
        take(guard, budget, at=NOW + (number // 10) * 12 * hour + number, windows=TEN)
    at = NOW + 100 * hour
    assert guard.charge(budget, TEN, at) == Spent(retry_at=NOW + 2_592_000_000)
    assert isinstance(guard.charge(budget, TEN[:2], at), Charge)


def test_the_longest_wait_is_told(guard: GuardStore) -> None:
    budget = opened(guard)
    windows = (Window(limit=1, seconds=10), Window(limit=2, seconds=1000))
    take(guard, budget, windows=windows)
    assert guard.charge(budget, windows, NOW) == Spent(retry_at=NOW + 10_000)
    take(guard, budget, at=NOW + 10_000, windows=windows)
    assert guard.charge(budget, windows, NOW + 10_000) == Spent(retry_at=NOW + 1_000_000)


def test_a_hundred_is_the_largest_limit(guard: GuardStore) -> None:
    budget, hundred = opened(guard), (Window(limit=100, seconds=900),)
    for _ in range(100):
        take(guard, budget, windows=hundred)
    assert isinstance(guard.charge(budget, hundred, NOW), Spent)


def test_a_missing_row_counts_as_spent_unless_it_may_be_made(guard: GuardStore) -> None:
    budget = key()
    outcome = guard.charge(budget, THREE, NOW)
    assert isinstance(outcome, Spent)
    assert outcome.retry_at > NOW
    first = guard.charge(budget, THREE, NOW, create=True)
    assert isinstance(first, Charge)
    for _ in range(2):
        take(guard, budget)
    assert isinstance(guard.charge(budget, THREE, NOW, create=True), Spent)
    guard.refund(first)
    assert isinstance(guard.charge(budget, THREE, NOW, create=True), Charge)


def test_opening_again_gives_nothing_back(guard: GuardStore) -> None:
    budget = opened(guard)
    for _ in range(3):
        take(guard, budget)
    guard.open(budget, NOW)
    guard.open(budget, NOW + 200_000_000)
    assert isinstance(guard.charge(budget, THREE, NOW), Spent)


def test_a_refund_takes_back_this_very_charge(guard: GuardStore) -> None:
    budget = opened(guard)
    first, second, third = (take(guard, budget, at=NOW + n * 1000) for n in range(3))
    guard.refund(second)
    take(guard, budget, at=NOW + 3000)
    assert guard.charge(budget, THREE, NOW + 3000) == Spent(retry_at=NOW + QUARTER)
    guard.refund(first)
    take(guard, budget, at=NOW + 4000)
    assert guard.charge(budget, THREE, NOW + 4000) == Spent(retry_at=NOW + QUARTER + 2000)
    guard.refund(third)
    take(guard, budget, at=NOW + 5000)


def test_a_refund_counts_once(guard: GuardStore) -> None:
    budget = opened(guard)
    charges = [take(guard, budget) for _ in range(3)]
    for _ in range(3):
        guard.refund(charges[0])
    take(guard, budget)
    assert isinstance(guard.charge(budget, THREE, NOW), Spent)


def test_a_refund_of_another_key_gives_nothing(guard: GuardStore) -> None:
    budget, other = opened(guard), opened(guard)
    charges = [take(guard, budget) for _ in range(3)]
    guard.refund(Charge(key=other, entry=charges[0].entry))
    guard.refund(Charge(key=budget, entry="|" + "0" * 17))
    assert isinstance(guard.charge(budget, THREE, NOW), Spent)


def test_seventy_right_codes_a_month_lock_nobody_out(guard: GuardStore) -> None:
    budget = opened(guard)
    for number in range(70):
        guard.refund(take(guard, budget, at=NOW + number, windows=TEN))
    take(guard, budget, windows=TEN)


def test_reset_forgets_all_charges_of_one_key(guard: GuardStore) -> None:
    budget, other = opened(guard), opened(guard)
    for each in (budget, other):
        for _ in range(3):
            take(guard, each)
    guard.reset(budget)
    take(guard, budget)
    assert isinstance(guard.charge(other, THREE, NOW), Spent)


def test_a_clock_that_goes_back_gives_nothing_free(guard: GuardStore) -> None:
    budget = opened(guard)
    take(guard, budget, at=NOW)
    for _ in range(2):
        take(guard, budget, at=NOW - 10 * QUARTER)
    assert guard.charge(budget, THREE, NOW - 10 * QUARTER) == Spent(retry_at=NOW + QUARTER)
    assert guard.charge(budget, THREE, NOW + QUARTER - 1) == Spent(retry_at=NOW + QUARTER)


def test_a_charge_made_while_the_clock_was_back_is_refunded(guard: GuardStore) -> None:
    budget = opened(guard)
    take(guard, budget, at=NOW)
    late = [take(guard, budget, at=NOW - QUARTER) for _ in range(2)]
    guard.refund(late[0])
    take(guard, budget, at=NOW)
    assert isinstance(guard.charge(budget, THREE, NOW), Spent)


def test_a_charge_made_while_the_clock_was_back_counts_by_the_right_one(guard: GuardStore) -> None:
    budget = opened(guard)
    first = take(guard, budget, at=NOW)
    for _ in range(2):
        take(guard, budget, at=NOW - 10 * QUARTER)
    guard.refund(first)
    take(guard, budget, at=NOW + QUARTER - 1)
    assert guard.charge(budget, THREE, NOW + QUARTER - 1) == Spent(retry_at=NOW + QUARTER)


def test_purge_leaves_what_was_used_since(guard: GuardStore) -> None:
    guard.purge(NOW * 2, 10_000)
    old, reopened, used = opened(guard), opened(guard), opened(guard)
    later = NOW + 2_592_000_000
    guard.open(reopened, later)
    take(guard, used, at=later)
    assert guard.purge(later, 500) == 1
    assert isinstance(guard.charge(old, THREE, later), Spent)
    take(guard, reopened, at=later)
    assert guard.purge(later + 1, 1) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=25))
def test_the_log_agrees_with_a_list_of_times(stores: Stores, steps: list[tuple[int, bool]]) -> None:
    guard, now = stores.guard, NOW
    budget = opened(guard)
    windows = (Window(limit=3, seconds=1), Window(limit=5, seconds=3))
    kept: list[tuple[int, Charge]] = []
    for pause, give_back in steps:
        now += pause
        allowed = all(sum(at > now - w.seconds * 1000 for at, _ in kept) < w.limit for w in windows)
        outcome = guard.charge(budget, windows, now)
        assert isinstance(outcome, Charge) == allowed
        if isinstance(outcome, Charge):
            kept.append((now, outcome))
            if give_back:
                guard.refund(kept.pop(len(kept) // 2)[1])


# --- races --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken_before", [False, True])
def test_who_takes_a_turn_waits_for_the_one_before(stores: Stores, taken_before: bool) -> None:
    mine, inside = key(), threading.Event()
    order: list[str] = []
    if taken_before:  # a row that is there has to be locked, one that is new is its maker's
        stores.guard.turn(mine, NOW)

    def first() -> None:
        stores.guard.turn(mine, NOW)
        inside.set()
        time.sleep(0.3)
        order.append("first")

    def second() -> None:
        stores.guard.turn(mine, NOW)
        order.append("second")

    def enter(number: int) -> None:
        if number:
            assert inside.wait(60)
        stores.database.unit(second if number else first)

    in_threads(2, enter)
    assert order == ["first", "second"]


def test_threads_get_exactly_the_limit(guard: GuardStore) -> None:
    budget = opened(guard)
    outcomes = in_threads(50, lambda n: guard.charge(budget, TEN, NOW + n % 7))
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 10, False: 40}


def test_threads_that_make_the_row_get_exactly_the_limit(guard: GuardStore) -> None:
    budget = key()
    outcomes = in_threads(50, lambda _: guard.charge(budget, TEN, NOW, create=True))
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 10, False: 40}


def test_processes_get_exactly_the_limit(backend: Backend) -> None:
    outcomes = in_processes(4, backend, samples.charge_budget, threads=10)
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 10, False: 30}


def test_threads_give_back_exactly_what_they_took(guard: GuardStore) -> None:
    budget = opened(guard)
    fixed = [take(guard, budget, windows=TEN) for _ in range(5)]

    def work(_number: int) -> bool:
        outcome = guard.charge(budget, TEN, NOW)
        if isinstance(outcome, Charge):
            guard.refund(outcome)
        return isinstance(outcome, Charge)

    assert any(in_threads(50, work))
    outcomes = [guard.charge(budget, TEN, NOW) for _ in range(10)]
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 5, False: 5}
    assert len({charge.entry for charge in fixed}) == 5


def test_processes_give_back_exactly_what_they_took(backend: Backend, guard: GuardStore) -> None:
    budget = key("raced refund")
    guard.open(budget, NOW)
    in_processes(4, backend, samples.charge_and_refund, threads=8)
    outcomes = [guard.charge(budget, TEN, NOW) for _ in range(20)]
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 10, False: 10}


def test_a_charge_outlives_the_rollback_around_it_unless_it_joins(stores: Stores) -> None:
    alone, joined, made = opened(stores.guard), opened(stores.guard), key()
    one = (Window(limit=1, seconds=900),)

    def work() -> None:
        assert isinstance(stores.guard.charge(alone, one, NOW), Charge)
        assert isinstance(stores.guard.charge(made, one, NOW, create=True), Charge)
        assert isinstance(stores.guard.charge(joined, one, NOW, joined=True), Charge)
        assert isinstance(stores.guard.charge(joined, one, NOW, joined=True), Spent)
        raise LookupError

    with pytest.raises(LookupError):
        stores.unit(work)
    assert isinstance(stores.guard.charge(alone, one, NOW), Spent)
    assert isinstance(stores.guard.charge(made, one, NOW, create=True), Spent)
    assert isinstance(stores.guard.charge(joined, one, NOW), Charge)


def test_a_process_killed_after_its_charge_gives_nothing_back(backend: Backend, guard: GuardStore) -> None:
    guard.reset(key("raced budget"))
    in_killed_process(backend, samples.charge_budget)
    outcomes = [guard.charge(key("raced budget"), TEN, NOW, create=True) for _ in range(10)]
    assert Counter(isinstance(o, Charge) for o in outcomes) == {True: 9, False: 1}


def test_threads_that_need_the_row_at_once_all_get_their_charge(guard: GuardStore) -> None:
    for number in range(5):
        budget = key(f"made by all at once {number}")
        outcomes = in_threads(10, lambda _, budget=budget: guard.charge(budget, TEN, NOW, create=True))  # type: ignore[misc]
        assert not [one for one in outcomes if isinstance(one, Spent)]
        assert isinstance(guard.charge(budget, TEN, NOW, create=True), Spent)
