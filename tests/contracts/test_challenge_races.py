"""What no ``ChallengeStore`` lets through, whatever happens at once (G1, G2)."""

from __future__ import annotations

from collections import Counter

import pytest

from flask_otpauth.types import Admission, ChallengeStore, Charged, Miss, Renewed, TooSoon
from tests.contracts import samples
from tests.contracts.backends import Backend, Stores
from tests.contracts.races import in_killed_process, in_processes, in_threads
from tests.contracts.samples import COOLDOWN, LOGIN, NOW, account, challenge, charged, issued, key, promoted

pytestmark = pytest.mark.slow


def test_no_more_attempts_than_there_are_whatever_the_threads(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    outcomes = in_threads(50, lambda _: challenges.charge(it, LOGIN, NOW))
    assert sorted(o.attempts_left for o in outcomes if isinstance(o, Charged)) == [0, 1, 2, 3, 4]
    assert outcomes.count(Miss.GONE) == 45


def test_no_more_attempts_than_there_are_whatever_the_processes(backend: Backend, challenges: ChallengeStore) -> None:
    promoted(challenges, id=key("raced charge"))
    outcomes = in_processes(4, backend, samples.charge_it, threads=8)
    assert sorted(o.attempts_left for o in outcomes if isinstance(o, Charged)) == [0, 1, 2, 3, 4]
    assert outcomes.count(Miss.GONE) == 27


def test_one_of_many_threads_consumes(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert Counter(in_threads(50, lambda _: challenges.consume(it, 1, NOW))) == {True: 1, False: 49}


def test_one_of_many_processes_consumes(backend: Backend, challenges: ChallengeStore) -> None:
    promoted(challenges, id=key("raced consume"))
    outcomes = in_processes(4, backend, samples.consume_it, threads=8)
    assert Counter(outcomes) == {True: 1, False: 31}


def test_one_of_many_threads_renews(challenges: ChallengeStore) -> None:
    it, at = promoted(challenges), NOW + COOLDOWN
    outcomes = in_threads(
        50, lambda _: challenges.renew(it, LOGIN, at, resend_at=at + COOLDOWN, answers_until=at + COOLDOWN, revive=True)
    )
    assert [o.generation for o in outcomes if isinstance(o, Renewed)] == [2]
    assert outcomes.count(TooSoon(resend_at=at + COOLDOWN)) == 49


def test_one_of_many_processes_renews(backend: Backend, challenges: ChallengeStore) -> None:
    promoted(challenges, id=key("raced renew"))
    outcomes = in_processes(4, backend, samples.renew_it, threads=8)
    assert sum(isinstance(o, Renewed) for o in outcomes) == 1


@pytest.mark.parametrize("earlier", [0, 2])
def test_threads_that_issue_are_counted_in_turn(challenges: ChallengeStore, earlier: int) -> None:
    who = account()
    for _ in range(earlier):
        issued(challenges, account=who)
    outcomes = in_threads(50, lambda _: challenges.issue(challenge(account=who)))
    assert Counter(outcomes) == {Admission.ADMITTED: 3 - earlier, Admission.MUTED: 47 + earlier}


def test_processes_that_issue_are_counted_in_turn(backend: Backend) -> None:
    outcomes = in_processes(4, backend, samples.issue_one, threads=8)
    assert Counter(outcomes) == {Admission.ADMITTED: 3, Admission.MUTED: 29}


def test_a_double_tap_is_one_challenge(challenges: ChallengeStore) -> None:
    who = account()
    outcomes = in_threads(20, lambda _: challenges.issue(challenge(account=who, min_gap=5000)))
    assert Counter(outcomes) == {Admission.ADMITTED: 1, Admission.TOO_SOON: 19}


def test_a_code_replaced_while_it_is_compared_does_not_consume(challenges: ChallengeStore) -> None:
    it, at = promoted(challenges), NOW + COOLDOWN
    compared = charged(challenges, it, at=at)
    challenges.renew(it, LOGIN, at, resend_at=at + COOLDOWN, answers_until=at + COOLDOWN, revive=True)
    assert samples.promote(challenges, it, 2, at=at)
    assert not challenges.consume(it, compared.generation, at)


def test_voiding_and_promoting_at_once_deadlock_nobody(challenges: ChallengeStore) -> None:
    who = account()
    chain = [issued(challenges, account=who, live_limit=99) for _ in range(20)]

    def work(number: int) -> bool:
        if number % 4 == 0:
            return challenges.void(who, NOW) >= 0
        return samples.promote(challenges, chain[number], 1, replaces=chain[number - 1]) in (True, False)

    assert all(in_threads(20, work))


# --- what a rollback or a crash can't undo ------------------------------------------------------------------------


def test_a_charge_outlives_the_rollback_around_it(stores: Stores) -> None:
    it = promoted(stores.challenges)

    def work() -> None:
        charged(stores.challenges, it)
        stores.challenges.end(key(), NOW)
        raise LookupError

    with pytest.raises(LookupError):
        stores.unit(work)
    assert charged(stores.challenges, it).attempts_left == 3


def test_a_consumption_is_undone_with_the_unit_that_it_is_part_of(stores: Stores) -> None:
    it = promoted(stores.challenges)

    def work() -> None:
        assert stores.challenges.consume(it, 1, NOW)
        assert not stores.challenges.consume(it, 1, NOW)
        raise LookupError

    with pytest.raises(LookupError):
        stores.unit(work)
    assert stores.challenges.consume(it, 1, NOW)


def test_a_renewal_is_undone_with_the_unit_that_it_is_part_of(stores: Stores) -> None:
    it, at = promoted(stores.challenges), NOW + COOLDOWN

    def renew() -> object:
        return stores.challenges.renew(it, LOGIN, at, resend_at=at + COOLDOWN, answers_until=at + COOLDOWN, revive=True)

    def work() -> None:
        assert isinstance(renew(), Renewed)
        assert isinstance(renew(), TooSoon)
        raise LookupError

    with pytest.raises(LookupError):
        stores.unit(work)
    assert isinstance(renew(), Renewed)


def test_a_process_killed_after_its_charge_gives_nothing_back(backend: Backend, challenges: ChallengeStore) -> None:
    it = key("raced charge")
    challenges.purge(NOW * 2, 10_000)
    promoted(challenges, id=it)
    in_killed_process(backend, samples.charge_it)
    assert charged(challenges, it).attempts_left == 3
