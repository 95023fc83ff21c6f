"""What every ``ChallengeStore`` does."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from flask_otpauth.types import Admission, ChallengeStore, Charged, Found, Miss, Purpose, Renewed, Seen, TooSoon
from tests.contracts.samples import (
    CODE_TIME,
    COOLDOWN,
    FLOW_TIME,
    LOGIN,
    NOW,
    account,
    challenge,
    charged,
    issued,
    key,
    promote,
    promoted,
)

LATER = NOW + COOLDOWN


def renew(store: ChallengeStore, challenge_id: bytes, *, at: int = LATER, revive: bool = True) -> Any:
    return store.renew(challenge_id, LOGIN, at, resend_at=at + COOLDOWN, answers_until=at + COOLDOWN, revive=revive)


def test_a_charge_tells_all_that_was_stored(challenges: ChallengeStore) -> None:
    new = challenge(alias="i:" + "0" * 64, binding='{"amount": "1 €"}', data='{"name":"Zoë 🙂"}')
    challenges.issue(new)
    assert promote(challenges, new.id, 1, channel="email", destination="zoë@example.org")
    assert challenges.charge(new.id, LOGIN, NOW) == Charged(
        id=new.id,
        generation=1,
        account=new.account,
        alias=new.alias,
        user_id=new.user_id,
        purpose=Purpose.LOGIN,
        channel="email",
        destination="zoë@example.org",
        binding=new.binding,
        data=new.data,
        digest=key("code 1"),
        attempts_left=4,
        created_at=NOW,
        flow_expires_at=NOW + FLOW_TIME,
    )


def test_a_decoy_is_charged_without_user_destination_and_digest(challenges: ChallengeStore) -> None:
    decoy = issued(challenges, user_id=None, destination=None)
    outcome = charged(challenges, decoy)
    assert (outcome.user_id, outcome.destination) == (None, None)
    assert (outcome.digest, outcome.generation, outcome.attempts_left) == (None, 0, 4)


def test_every_attempt_is_counted_and_the_last_is_the_last(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert [charged(challenges, it).attempts_left for _ in range(5)] == [4, 3, 2, 1, 0]
    assert challenges.charge(it, LOGIN, NOW) is Miss.GONE


def test_the_right_code_at_the_last_attempt_consumes(challenges: ChallengeStore) -> None:
    it = promoted(challenges, attempts=1)
    assert challenges.consume(it, charged(challenges, it).generation, NOW)


def test_another_purpose_is_gone_and_costs_nothing(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert challenges.charge(it, frozenset({Purpose.RESET, Purpose.STEP_UP}), NOW) is Miss.GONE
    assert challenges.charge(it, frozenset(), NOW) is Miss.GONE
    assert (
        challenges.renew(it, frozenset({Purpose.RESET}), LATER, resend_at=LATER, answers_until=LATER, revive=True)
        is Miss.GONE
    )
    assert charged(challenges, it).attempts_left == 4


def test_an_unknown_challenge_is_gone(challenges: ChallengeStore) -> None:
    assert challenges.charge(key(), LOGIN, NOW) is Miss.GONE
    assert renew(challenges, key()) is Miss.GONE
    assert not challenges.consume(key(), 1, NOW)
    assert not promote(challenges, key(), 1)


def test_every_change_is_of_one_challenge(challenges: ChallengeStore) -> None:
    it, other = issued(challenges), issued(challenges)
    assert promote(challenges, it, 1)
    assert [renew(challenges, each).generation for each in (it, other)] == [2, 2]
    challenges.withdraw(it, 2, LATER)
    charged(challenges, it, at=LATER)
    assert challenges.consume(it, 1, LATER)
    challenges.end(it, LATER)
    assert (charged(challenges, other).digest, charged(challenges, other).attempts_left) == (None, 3)
    assert promote(challenges, other, 2, at=LATER)


@pytest.mark.parametrize("times", [{"code_expires_at": NOW + 1000}, {"flow_expires_at": NOW + 1000}])
def test_a_code_lives_to_the_millisecond(challenges: ChallengeStore, times: dict[str, int]) -> None:
    it = issued(challenges, attempts=1, **times)
    assert challenges.charge(it, LOGIN, NOW + 1000) is Miss.EXPIRED
    assert charged(challenges, it, at=NOW + 999).attempts_left == 0


def test_a_code_counts_only_once_it_was_promoted(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    renewed = renew(challenges, it)
    assert renewed.generation == 2
    assert charged(challenges, it, at=LATER).digest == key("code 1")
    assert promote(challenges, it, 2, at=LATER)
    outcome = charged(challenges, it, at=LATER)
    assert (outcome.digest, outcome.generation) == (key("code 2"), 2)


def test_a_promoted_code_has_its_own_lifetime(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    renew(challenges, it, at=NOW + CODE_TIME)
    assert promote(challenges, it, 2, at=NOW + CODE_TIME)
    assert charged(challenges, it, at=NOW + 2 * CODE_TIME - 1).digest == key("code 2")
    assert challenges.charge(it, LOGIN, NOW + 2 * CODE_TIME) is Miss.EXPIRED


def test_a_code_is_promoted_once(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert not promote(challenges, it, 1)


def test_a_code_that_is_overtaken_is_not_promoted(challenges: ChallengeStore) -> None:
    it = issued(challenges)
    renew(challenges, it)
    assert not promote(challenges, it, 1, at=LATER)
    assert charged(challenges, it).digest is None
    assert promote(challenges, it, 2, at=LATER)


def test_nothing_is_promoted_into_a_challenge_that_is_over(challenges: ChallengeStore) -> None:
    ended, exhausted = issued(challenges), issued(challenges, attempts=1)
    challenges.end(ended, NOW)
    charged(challenges, exhausted)
    assert not promote(challenges, ended, 1)
    assert not promote(challenges, exhausted, 1)
    assert not promote(challenges, issued(challenges), 1, at=NOW + FLOW_TIME)


def test_promotion_ends_what_it_replaces_and_not_before(challenges: ChallengeStore) -> None:
    who = account()
    old = promoted(challenges, account=who)
    new = issued(challenges, account=who, replaces=old)
    assert charged(challenges, old).attempts_left >= 0
    assert promote(challenges, new, 1, replaces=old)
    assert challenges.charge(old, LOGIN, NOW) is Miss.GONE


def test_a_refused_promotion_replaces_nothing(challenges: ChallengeStore) -> None:
    old, new = promoted(challenges), issued(challenges)
    challenges.end(new, NOW)
    assert not promote(challenges, new, 1, replaces=old)
    assert charged(challenges, old).attempts_left >= 0


# --- consuming ----------------------------------------------------------------------------------------------------


def test_a_challenge_is_consumed_once(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert challenges.consume(it, 1, NOW)
    assert not challenges.consume(it, 1, NOW)
    assert challenges.charge(it, LOGIN, NOW) is Miss.GONE


def test_a_replaced_code_does_not_consume(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    renew(challenges, it)
    assert promote(challenges, it, 2, at=LATER)
    assert not challenges.consume(it, 1, LATER)
    assert challenges.consume(it, 2, LATER)


def test_a_challenge_without_a_code_is_not_consumed(challenges: ChallengeStore) -> None:
    assert not challenges.consume(issued(challenges), 0, NOW)


# --- renewing -----------------------------------------------------------------------------------------------------


def test_a_renewal_keeps_id_attempts_and_flow(challenges: ChallengeStore) -> None:
    new = challenge()
    challenges.issue(new)
    promote(challenges, new.id, 1)
    charged(challenges, new.id)
    assert renew(challenges, new.id) == Renewed(
        id=new.id,
        generation=2,
        account=new.account,
        user_id=new.user_id,
        purpose=Purpose.LOGIN,
        channel="sms",
        destination="+972501234567",
        binding="",
        data=new.data,
        attempts_left=4,
        resend_at=LATER + COOLDOWN,
        flow_expires_at=new.flow_expires_at,
        muted=False,
    )


def test_the_cooldown_holds_and_tells_its_end(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert renew(challenges, it, at=LATER - 1) == TooSoon(resend_at=LATER)
    assert renew(challenges, it, at=LATER - 1, revive=False) == TooSoon(resend_at=LATER)
    assert isinstance(renew(challenges, it), Renewed)
    assert renew(challenges, it) == TooSoon(resend_at=LATER + COOLDOWN)


def test_an_expired_code_is_renewed_only_where_that_is_wanted(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert renew(challenges, it, at=NOW + CODE_TIME, revive=False) is Miss.EXPIRED
    assert isinstance(renew(challenges, it, at=NOW + CODE_TIME), Renewed)


def test_nothing_renews_what_is_over(challenges: ChallengeStore) -> None:
    used, exhausted = promoted(challenges), promoted(challenges, attempts=1)
    challenges.consume(used, 1, NOW)
    charged(challenges, exhausted)
    assert renew(challenges, used) is Miss.GONE
    assert renew(challenges, exhausted) is Miss.GONE
    assert renew(challenges, promoted(challenges), at=NOW + FLOW_TIME) is Miss.EXPIRED


# --- withdrawing --------------------------------------------------------------------------------------------------


def test_a_withdrawn_first_code_ends_the_challenge(challenges: ChallengeStore) -> None:
    it = issued(challenges)
    challenges.withdraw(it, 1, NOW)
    assert challenges.charge(it, LOGIN, NOW) is Miss.GONE


def test_a_withdrawn_later_code_leaves_the_one_before_and_lifts_the_cooldown(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    renew(challenges, it)
    challenges.withdraw(it, 2, LATER)
    assert not promote(challenges, it, 2, at=LATER)
    assert charged(challenges, it).digest == key("code 1")
    again = renew(challenges, it, at=LATER)
    assert promote(challenges, it, again.generation, at=LATER)


def test_a_late_failure_withdraws_no_later_code(challenges: ChallengeStore) -> None:
    it = issued(challenges)
    renew(challenges, it)
    challenges.withdraw(it, 1, LATER)
    assert renew(challenges, it) == TooSoon(resend_at=LATER + COOLDOWN)
    assert promote(challenges, it, 2, at=LATER)


def test_withdrawing_a_code_that_counts_changes_nothing(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    challenges.withdraw(it, 1, NOW)
    assert charged(challenges, it).digest == key("code 1")
    assert renew(challenges, it, at=NOW) == TooSoon(resend_at=LATER)


# --- how many -----------------------------------------------------------------------------------------------------


def test_one_too_many_is_muted_and_looks_like_the_others(challenges: ChallengeStore) -> None:
    who = account()
    for _ in range(3):
        issued(challenges, account=who)
    muted = challenge(account=who)
    assert challenges.issue(muted) is Admission.MUTED
    assert not promote(challenges, muted.id, 1)
    assert renew(challenges, muted.id).muted
    assert not promote(challenges, muted.id, 2, at=LATER)
    assert [charged(challenges, muted.id).attempts_left for _ in range(5)] == [4, 3, 2, 1, 0]
    assert challenges.charge(muted.id, LOGIN, NOW) is Miss.GONE


def test_only_what_lives_and_is_not_muted_or_replaced_counts(challenges: ChallengeStore) -> None:
    who = account()
    one = {"account": who, "live_limit": 1}
    challenges.end(issued(challenges, **one), NOW)
    challenges.consume(promoted(challenges, **one), 1, NOW)
    charged(challenges, issued(challenges, attempts=1, **one))
    issued(challenges, created_at=NOW - FLOW_TIME, **one)
    live = issued(challenges, **one)
    assert challenges.issue(challenge(**one)) is Admission.MUTED
    assert challenges.issue(challenge(replaces=live, **one)) is Admission.ADMITTED
    assert challenges.issue(challenge(**{**one, "live_limit": 3})) is Admission.ADMITTED
    assert challenges.issue(challenge(**{**one, "live_limit": 3})) is Admission.MUTED


def test_two_in_a_gap_are_one(challenges: ChallengeStore) -> None:
    who = account()
    first = issued(challenges, account=who)
    soon = challenge(account=who, created_at=NOW + 4999, min_gap=5000, replaces=first)
    assert challenges.issue(soon) is Admission.TOO_SOON
    assert challenges.charge(soon.id, LOGIN, NOW) is Miss.GONE
    assert challenges.issue(challenge(account=who, created_at=NOW + 5000, min_gap=5000)) is Admission.ADMITTED


def test_a_gap_is_of_one_account_and_purpose_and_of_what_lives(challenges: ChallengeStore) -> None:
    who = account()
    first = issued(challenges, account=who)
    issued(challenges, min_gap=5000)
    issued(challenges, account=who, min_gap=5000, purpose=Purpose.CONTACT)
    challenges.end(first, NOW)
    issued(challenges, account=who, min_gap=5000)


def test_a_clock_that_went_back_opens_no_gap(challenges: ChallengeStore) -> None:
    who = account()
    issued(challenges, account=who, created_at=NOW + 3_600_000)
    assert challenges.issue(challenge(account=who, min_gap=5000)) is Admission.TOO_SOON


# --- many at once -------------------------------------------------------------------------------------------------


def test_find_gives_live_challenges_of_an_alias_newest_first(challenges: ChallengeStore) -> None:
    who, alias, other = account(), f"i:{key().hex()}", f"i:{key().hex()}"
    ids = sorted((key() for _ in range(3)), reverse=True)
    mine = [issued(challenges, id=ids[n], account=who, alias=alias, created_at=NOW + n) for n in range(2)]
    typed = issued(challenges, id=ids[2], alias=other, created_at=NOW + 2)
    challenges.end(issued(challenges, account=who, alias=alias, live_limit=9), NOW)
    issued(challenges, account=who, alias=alias, purpose=Purpose.RESET, live_limit=9)
    issued(challenges, account=who, live_limit=9)
    assert [one.id for one in challenges.find([alias, other, alias], LOGIN, NOW)] == [typed, mine[1], mine[0]]
    assert [one.id for one in challenges.find([alias], LOGIN, NOW)] == [mine[1], mine[0]]
    assert challenges.find([], LOGIN, NOW) == []
    assert [one.id for one in challenges.find([alias], LOGIN, NOW + FLOW_TIME)] == [mine[1]]
    assert challenges.find([alias], LOGIN, NOW + FLOW_TIME + 1) == []


def test_find_tells_what_there_is_to_charge(challenges: ChallengeStore) -> None:
    who, alias = account(), f"i:{key().hex()}"
    confirm = promoted(challenges, account=who, alias=alias, purpose=Purpose.CONFIRM, attempts=1)
    spent = promoted(challenges, account=who, alias=alias, attempts=1, created_at=NOW + 1)
    charged(challenges, spent)
    muted = challenge(account=who, alias=alias, live_limit=1, created_at=NOW + 2)
    assert challenges.issue(muted) is Admission.MUTED
    purposes = LOGIN | {Purpose.CONFIRM}
    rest = {"account": who, "alias": alias, "late": False}
    assert challenges.find([alias], purposes, NOW) == [
        Found(id=muted.id, purpose=Purpose.LOGIN, spent=False, muted=True, **rest),
        Found(id=spent, purpose=Purpose.LOGIN, spent=True, muted=False, **rest),
        Found(id=confirm, purpose=Purpose.CONFIRM, spent=False, muted=False, **rest),
    ]
    assert [one.late for one in challenges.find([alias], purposes, NOW + CODE_TIME - 1)] == [False] * 3
    assert [one.late for one in challenges.find([alias], purposes, NOW + CODE_TIME)] == [False, True, True]


def test_one_whose_code_is_too_late_keeps_nobody_from_another(challenges: ChallengeStore) -> None:
    who = account()
    issued(challenges, account=who, live_limit=1)
    at = {"account": who, "live_limit": 1}
    assert challenges.issue(challenge(**at, created_at=NOW + CODE_TIME - 1)) is Admission.MUTED
    assert challenges.issue(challenge(**at, created_at=NOW + CODE_TIME)) is Admission.ADMITTED


def test_void_ends_what_is_pending_of_one_account(challenges: ChallengeStore) -> None:
    who = account()
    mine = [promoted(challenges, account=who) for _ in range(3)]
    charged(challenges, mine[0])
    other = promoted(challenges)
    assert challenges.void(who, NOW) == 3
    assert challenges.void(who, NOW) == 0
    assert [challenges.charge(each, LOGIN, NOW) for each in mine] == [Miss.GONE] * 3
    assert not challenges.consume(mine[0], 1, NOW)
    assert charged(challenges, other).attempts_left >= 0


def test_void_ends_a_challenge_whose_last_attempt_is_being_compared(challenges: ChallengeStore) -> None:
    it = challenge(attempts=1)
    challenges.issue(it)
    promote(challenges, it.id, 1)
    charged(challenges, it.id)
    challenges.void(it.account, NOW)
    assert not challenges.consume(it.id, 1, NOW)


def test_purge_takes_the_oldest_and_no_more_than_it_may(challenges: ChallengeStore) -> None:
    challenges.purge(NOW * 2, 10_000)
    old = [issued(challenges, created_at=n) for n in range(3)]
    young = promoted(challenges)
    assert challenges.purge(NOW, 2) == 2
    assert challenges.charge(old[0], LOGIN, 0) is Miss.GONE
    assert challenges.purge(NOW, 500) == 1
    assert challenges.purge(NOW, 500) == 0
    assert charged(challenges, young).attempts_left >= 0


def test_an_awaited_code_moves_the_end_of_answers_whatever_becomes_of_it(challenges: ChallengeStore) -> None:
    it, end = promoted(challenges), NOW + CODE_TIME
    challenges.renew(it, LOGIN, LATER, resend_at=LATER, answers_until=end + 1000, revive=False)
    late = charged(challenges, it, at=end)
    # The code before is good for no longer than it was.
    assert (late.digest, late.attempts_left) == (None, 4)
    assert challenges.charge(it, LOGIN, end + 1000) is Miss.EXPIRED


def test_a_withdrawn_code_moves_no_end_of_answers(challenges: ChallengeStore) -> None:
    it, end = promoted(challenges), NOW + CODE_TIME
    challenges.renew(it, LOGIN, LATER, resend_at=LATER, answers_until=end + 1000, revive=False)
    challenges.withdraw(it, 2, LATER)
    assert charged(challenges, it, at=end - 1).digest == key("code 1")
    assert challenges.charge(it, LOGIN, end) is Miss.EXPIRED


# --- what a page shows ---


def test_a_look_tells_what_is_shown_and_changes_nothing(challenges: ChallengeStore) -> None:
    new = challenge(data='{"shown":["z***@example.org"]}')
    challenges.issue(new)
    assert promote(challenges, new.id, 1, channel="email", destination="zoë@example.org")
    charged(challenges, new.id)
    shown = Seen(
        purpose=Purpose.LOGIN,
        channel="email",
        destination="zoë@example.org",
        data=new.data,
        attempts_left=4,
        resend_at=NOW + COOLDOWN,
        answers_until=NOW + CODE_TIME,
        flow_expires_at=NOW + FLOW_TIME,
    )
    assert [challenges.look(new.id, NOW) for _ in range(9)] == [shown] * 9
    assert charged(challenges, new.id).attempts_left == 3


def test_a_look_holds_nothing_to_compare_with(challenges: ChallengeStore) -> None:
    seen = challenges.look(promoted(challenges), NOW)
    assert isinstance(seen, Seen)
    assert not {"digest", "account", "alias", "user_id", "generation"} & {field.name for field in fields(seen)}


def test_a_look_sees_a_challenge_whose_code_is_too_late(challenges: ChallengeStore) -> None:
    it = promoted(challenges)
    assert isinstance(challenges.look(it, NOW + CODE_TIME), Seen)
    assert isinstance(challenges.look(promoted(challenges, attempts=1), NOW), Seen)
    assert isinstance(challenges.look(it, NOW + FLOW_TIME - 1), Seen)
    assert challenges.look(it, NOW + FLOW_TIME) is Miss.EXPIRED


def test_a_look_sees_nothing_that_is_over(challenges: ChallengeStore) -> None:
    consumed, ended, spent = promoted(challenges), promoted(challenges), promoted(challenges, attempts=1)
    challenges.consume(consumed, 1, NOW)
    challenges.end(ended, NOW)
    charged(challenges, spent)
    assert [challenges.look(it, NOW) for it in (consumed, ended, spent, key())] == [Miss.GONE] * 4


def test_a_look_tells_nothing_of_whether_another_code_was_sent(challenges: ChallengeStore) -> None:
    real, decoy = promoted(challenges), issued(challenges, destination="+972501234567")
    for one in (real, decoy):
        renew(challenges, one)
    assert challenges.look(real, LATER) == challenges.look(decoy, LATER)
