from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData

from flask_otpauth.challenges import Challenges, Minted, Order
from flask_otpauth.config import read
from flask_otpauth.crypto import Keyring, digest
from flask_otpauth.errors import ChallengeGone, CodeExpired, RateLimited
from flask_otpauth.stores import Database, SqlChallenges, tables_for
from flask_otpauth.types import Answer, Charged, Message, Purpose, SendRequest

pytestmark = pytest.mark.core

NOW = 1_800_000_000_000
LOGIN = frozenset({Purpose.LOGIN})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Challenges]]:
    """Give the challenges of an app with such settings; all are on one database."""
    with ExitStack() as stack:
        database = Database(f"sqlite:///{tmp_path}/codes.sqlite3", tables_for(MetaData()), create=True, ours=True)
        stack.enter_context(closing(database))
        keyring = Keyring([b"a secret of the tests"])
        yield lambda **config: Challenges(SqlChallenges(database), keyring, read(config)[0])


@pytest.fixture
def challenges(opened: Callable[..., Challenges]) -> Challenges:
    return opened()


def order(**changes: object) -> Order:
    values: dict[str, object] = {
        "purpose": Purpose.LOGIN, "account": "u:1", "alias": "u:1", "user_id": "1", "channel": "sms",
        "destination": "+972508464336", "stranger": False, **changes,
    }  # fmt: skip
    return Order(**values)  # type: ignore[arg-type]


def sent(challenges: Challenges, **changes: object) -> Minted:
    minted = challenges.begin(order(**changes), NOW)
    assert challenges.promote(minted, NOW)
    return minted


def test_a_code_lives_its_exact_time_from_minting(challenges: Challenges) -> None:
    minted = sent(challenges)
    charged = challenges.charge(minted.challenge_id, LOGIN, NOW + 299_999)
    assert challenges.matches(charged, minted.code)
    with pytest.raises(CodeExpired):
        challenges.charge(minted.challenge_id, LOGIN, NOW + 300_000)


def test_a_code_counts_only_once_it_was_sent(challenges: Challenges) -> None:
    minted = challenges.begin(order(), NOW)
    assert not challenges.matches(challenges.charge(minted.challenge_id, LOGIN, NOW), minted.code)
    challenges.promote(minted, NOW)
    assert challenges.matches(challenges.charge(minted.challenge_id, LOGIN, NOW), minted.code)


def test_the_old_code_counts_until_the_new_one_was_sent(challenges: Challenges) -> None:
    old = sent(challenges)
    later = NOW + 60_000
    renewed = challenges.renew(old.challenge_id, LOGIN, later)
    new = challenges.remint(renewed, later, channel="sms", destination="+972508464336")
    before = challenges.charge(old.challenge_id, LOGIN, later)
    assert challenges.matches(before, old.code)
    assert challenges.promote(new, later)
    after = challenges.charge(old.challenge_id, LOGIN, later)
    assert challenges.matches(after, new.code)
    assert old.code == new.code or not challenges.matches(after, old.code)


def test_a_right_code_that_was_replaced_before_it_was_used_up_opens_nothing(challenges: Challenges) -> None:
    old = sent(challenges)
    charged = challenges.charge(old.challenge_id, LOGIN, NOW)
    renewed = challenges.renew(old.challenge_id, LOGIN, NOW + 60_000)
    challenges.promote(challenges.remint(renewed, NOW + 60_000, channel="sms", destination="+1"), NOW + 60_000)
    with pytest.raises(ChallengeGone):
        challenges.consume(charged, NOW + 60_000)


def test_a_challenge_is_used_up_once(challenges: Challenges) -> None:
    minted = sent(challenges)
    charged = challenges.charge(minted.challenge_id, LOGIN, NOW)
    challenges.consume(charged, NOW)
    with pytest.raises(ChallengeGone):
        challenges.consume(charged, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": digest("another")},
        {"account": "u:2"},
        {"purpose": Purpose.STEP_UP},
        {"channel": "email"},
        {"destination": "+1"},
        {"destination": None},
        {"binding": "x"},
    ],
)
def test_a_code_is_bound_to_all_that_it_was_made_for(challenges: Challenges, changes: dict[str, Any]) -> None:
    minted = sent(challenges)
    charged = challenges.charge(minted.challenge_id, LOGIN, NOW)
    assert challenges.matches(charged, minted.code)
    assert not challenges.matches(replace(charged, **changes), minted.code)


def test_a_code_of_one_app_is_no_good_for_another_of_the_same_secret(opened: Callable[..., Challenges]) -> None:
    shop, bank = opened(OTPAUTH_APP_NAME="Shop"), opened(OTPAUTH_APP_NAME="Bank")
    minted = sent(shop)
    charged = bank.charge(minted.challenge_id, LOGIN, NOW)
    assert not bank.matches(charged, minted.code)
    assert shop.matches(charged, minted.code)


def test_ids_are_stored_as_digests(challenges: Challenges) -> None:
    minted = sent(challenges)
    assert minted.secret is not None
    assert minted.challenge_id == digest(minted.secret)
    assert minted.code not in repr(minted)
    assert minted.secret not in repr(minted)


def test_what_is_ordered_is_minted_and_stored(opened: Callable[..., Challenges]) -> None:
    challenges = opened(OTPAUTH_RESEND_COOLDOWN=40)
    minted = challenges.begin(order(alias="i:2", binding="b", data={"send": True, "n": 1}), NOW)
    told = {
        "account": "u:1", "user_id": "1", "purpose": Purpose.LOGIN, "channel": "sms", "destination": "+972508464336",
        "binding": "b", "flow_expires_at": NOW + 900_000,
    }  # fmt: skip
    assert minted == Minted(
        challenge_id=minted.challenge_id,
        secret=minted.secret,
        generation=1,
        code=minted.code,
        data={"send": True, "n": 1},
        expires_at=NOW + 300_000,
        resend_at=NOW + 40_000,
        attempts_left=5,
        sendable=True,
        **told,  # type: ignore[arg-type]
    )
    assert challenges.charge(minted.challenge_id, LOGIN, NOW) == Charged(
        id=minted.challenge_id,
        generation=0,
        alias="i:2",
        data='{"send":true,"n":1}',
        digest=None,
        attempts_left=4,
        created_at=NOW,
        **told,  # type: ignore[arg-type]
    )


def test_a_code_ends_with_its_flow(opened: Callable[..., Challenges]) -> None:
    challenges = opened(OTPAUTH_CODE_LIFETIME=600, OTPAUTH_FLOW_LIFETIME=600)
    minted = sent(challenges)
    assert minted.expires_at == minted.flow_expires_at == NOW + 600_000
    again = challenges.remint(challenges.renew(minted.challenge_id, LOGIN, NOW + 60_000), NOW + 60_000,
                              channel="sms", destination="+1")  # fmt: skip
    assert again.expires_at == again.flow_expires_at == NOW + 600_000


def test_a_renewed_challenge_is_minted_as_it_is_stored(challenges: Challenges) -> None:
    minted = sent(challenges, binding="b", data={"send": True})
    later = NOW + 60_001
    renewed = challenges.renew(minted.challenge_id, LOGIN, later)
    again = challenges.remint(renewed, later, channel="email", destination="ann@example.org")
    assert again == replace(
        minted,
        secret=None,
        generation=2,
        code=again.code,
        channel="email",
        destination="ann@example.org",
        expires_at=later + 300_000,
        resend_at=later + 60_000,
    )


def test_answers_are_taken_as_long_as_the_awaited_code_would_live(challenges: Challenges) -> None:
    minted = sent(challenges)
    challenges.renew(minted.challenge_id, LOGIN, NOW + 60_000)
    assert challenges.charge(minted.challenge_id, LOGIN, NOW + 359_999).digest is None
    with pytest.raises(CodeExpired):
        challenges.charge(minted.challenge_id, LOGIN, NOW + 360_000)


def test_the_end_of_a_cooldown_is_told_rounded_up(challenges: Challenges) -> None:
    minted = challenges.begin(order(), NOW + 1)
    with pytest.raises(RateLimited) as caught:
        challenges.renew(minted.challenge_id, LOGIN, NOW + 1000)
    assert caught.value.members == {"retry_after": 60, "resend_at": "2027-01-15T08:01:01Z"}


def test_the_gap_between_two_orders_is_told_rounded_up(challenges: Challenges) -> None:
    challenges.begin(order(), NOW)
    with pytest.raises(RateLimited) as caught:
        challenges.begin(order(min_gap=10_001), NOW + 10_000)
    assert caught.value.members == {"retry_after": 11}
    assert challenges.begin(order(min_gap=10_000), NOW + 10_000).sendable


@pytest.mark.parametrize(("expiry", "renewed"), [("resend", True), ("restart", False)])
def test_an_expired_code_is_renewed_where_the_app_wants_it(
    opened: Callable[..., Challenges], expiry: str, renewed: bool
) -> None:
    challenges = opened(OTPAUTH_ON_EXPIRY=expiry)
    minted = sent(challenges)
    if renewed:
        assert challenges.renew(minted.challenge_id, LOGIN, NOW + 300_000).generation == 2
    else:
        with pytest.raises(ChallengeGone):
            challenges.renew(minted.challenge_id, LOGIN, NOW + 300_000)


@pytest.mark.parametrize(("live", "strangers"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_one_live_challenge_is_kept_from_strangers(
    opened: Callable[..., Challenges], live: int, strangers: int
) -> None:
    challenges = opened(OTPAUTH_LIVE_CHALLENGES=live)
    given = [challenges.begin(order(stranger=True), NOW).sendable for _ in range(live)]
    assert given == [True] * strangers + [False] * (live - strangers)
    kept = [challenges.begin(order(), NOW).sendable for _ in range(live)]
    assert sum(kept) == live - strangers


def test_a_muted_challenge_stays_muted_when_it_is_renewed(opened: Callable[..., Challenges]) -> None:
    challenges = opened(OTPAUTH_LIVE_CHALLENGES=1)
    sent(challenges)
    muted = challenges.begin(order(), NOW)
    renewed = challenges.renew(muted.challenge_id, LOGIN, NOW + 60_000)
    assert not challenges.remint(renewed, NOW + 60_000, channel="sms", destination="+1").sendable
    assert not challenges.promote(muted, NOW)


def test_a_browsers_earlier_challenge_is_replaced_once_the_code_was_sent(opened: Callable[..., Challenges]) -> None:
    challenges = opened(OTPAUTH_LIVE_CHALLENGES=1)
    old = sent(challenges)
    new = challenges.begin(order(replaces=old.challenge_id), NOW)
    assert new.sendable
    assert challenges.charge(old.challenge_id, LOGIN, NOW).attempts_left == 4
    assert challenges.promote(new, NOW)
    with pytest.raises(ChallengeGone):
        challenges.charge(old.challenge_id, LOGIN, NOW)


def test_a_code_without_a_destination_counts_too(challenges: Challenges) -> None:
    minted = sent(challenges, destination=None)
    assert challenges.matches(challenges.charge(minted.challenge_id, LOGIN, NOW), minted.code)


def test_a_pretended_code_never_counts_even_when_another_one_is_awaited(challenges: Challenges) -> None:
    minted, later = challenges.begin(order(), NOW), NOW + 60_000
    challenges.pretend(minted, NOW)
    assert challenges.charge(minted.challenge_id, LOGIN, NOW).digest is None
    real = challenges.remint(
        challenges.renew(minted.challenge_id, LOGIN, later), later, channel="sms", destination="+1"
    )
    # A job that waited for a thread for longer than the cooldown.
    challenges.pretend(minted, later)
    assert challenges.promote(real, later)
    assert challenges.matches(challenges.charge(minted.challenge_id, LOGIN, later), real.code)


def test_a_withdrawn_code_counts_no_more(challenges: Challenges) -> None:
    minted = sent(challenges)
    renewed = challenges.renew(minted.challenge_id, LOGIN, NOW + 60_000)
    failed = challenges.remint(renewed, NOW + 60_000, channel="sms", destination="+1")
    challenges.withdraw(failed, NOW + 60_000)
    assert not challenges.promote(failed, NOW + 60_000)
    charged = challenges.charge(minted.challenge_id, LOGIN, NOW + 60_000)
    assert challenges.matches(charged, minted.code)
    # The failure uses up no cooldown.
    assert challenges.renew(minted.challenge_id, LOGIN, NOW + 60_000).generation == 4


def found(challenges: Challenges, *aliases: str) -> list[bytes]:
    return [one.id for one in challenges.find([*aliases], LOGIN, NOW)]


def test_challenges_are_found_ended_and_voided(challenges: Challenges) -> None:
    first, second = (challenges.begin(order(alias=alias), NOW) for alias in ("i:1", "i:2"))
    assert found(challenges, "i:1") == [first.challenge_id]
    assert challenges.find(["i:1"], frozenset({Purpose.RESET}), NOW) == []
    assert challenges.find(["i:1"], LOGIN, NOW + 900_000) == []
    assert first.secret is not None
    challenges.end(first.secret, NOW)
    assert found(challenges, "i:1", "i:2") == [second.challenge_id]
    assert challenges.void("u:2", NOW) == 0
    assert challenges.void("u:1", NOW + 900_000) == 0
    assert challenges.void("u:1", NOW) == 1
    assert found(challenges, "i:1", "i:2") == []


@pytest.mark.parametrize("expiry", ["resend", "restart"])
def test_a_look_shows_what_the_browser_began_and_takes_nothing(opened: Callable[..., Challenges], expiry: str) -> None:
    challenges = opened(OTPAUTH_ON_EXPIRY=expiry)
    minted = sent(challenges)
    assert minted.secret is not None
    for _ in range(9):
        seen = challenges.look(minted.secret, NOW + 299_999)
    assert (seen.purpose, seen.channel, seen.destination) == (Purpose.LOGIN, "sms", "+972508464336")
    assert (seen.attempts_left, seen.answers_until) == (5, minted.expires_at)
    if expiry == "resend":
        assert challenges.look(minted.secret, NOW + 300_000) == seen
    else:
        with pytest.raises(CodeExpired):
            challenges.look(minted.secret, NOW + 300_000)


def test_what_is_over_shows_nothing(opened: Callable[..., Challenges]) -> None:
    challenges = opened(OTPAUTH_ON_EXPIRY="resend")
    minted = sent(challenges)
    assert minted.secret is not None
    with pytest.raises(CodeExpired):
        challenges.look(minted.secret, minted.flow_expires_at)
    with pytest.raises(ChallengeGone):
        challenges.look("another", NOW)
    challenges.end(minted.secret, NOW)
    with pytest.raises(ChallengeGone):
        challenges.look(minted.secret, NOW)


def test_a_message_shows_no_code_and_loads_its_user_when_asked() -> None:
    message = Message(to="+1", body="004217", code="004217", purpose="login", channel="sms", load_user=lambda: "ann")
    assert "004217" not in repr(message)
    assert message.user == "ann"
    assert Message(to="+1", body="", purpose="login", channel="sms").user is None


def test_requests_for_codes_and_answers_load_their_user_when_asked() -> None:
    request = SendRequest(purpose="login", channel="sms", destination=None, load_user=lambda: "ann")
    assert request.user == "ann"
    answer = Answer(endpoint="me", status=200, body={}, load_user=lambda: 1 + 2j)
    assert answer.user == 1 + 2j
    assert answer.of_user("real", "imag") == {"real": 1, "imag": 2}
