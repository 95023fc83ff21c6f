"""G1: at most ``max_attempts`` guesses are compared per challenge, whatever is done at once, between or around."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from flask_otpauth import signals
from flask_otpauth.challenges import Challenges
from tests.contracts.races import in_threads
from tests.security.races import ATTACKS, STORES, Site, Watch, comparisons, mail, wrong
from tests.services import KINDS, POSTGRESQL, database_url

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
SHOTS = 20
FULL_WIDTH = "".join(chr(0xFF10 + digit) for digit in range(1, 7))
LINE = re.compile(r"^\| (\w+) \| (.*) \| .* \| (\d+) (\w+) \| (\d+) \|$", re.MULTILINE)
Sites = Callable[..., Site]

on_every_store = pytest.mark.parametrize("url", KINDS, indirect=True)
with_both_credentials = pytest.mark.parametrize("credentials", ["jwt", "session"])


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    with database_url(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def sites(url: str, tmp_path: Path) -> Iterator[Sites]:
    """Make apps on one database and one clock."""
    watch = Watch(still=True)
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Site(url, tmp_path, watch=watch, **settings))


class Door:
    """A challenge under attack: where it is, and what its code is not."""

    def __init__(self, site: Site, asked: Any, name: str = "ann") -> None:
        self.id, self.name, self.right = asked["challenge_id"], name, site.code(mail(name))

    def guess(self, site: Site, number: int = 0, **more: Any) -> Any:
        return site.post(
            "/verify-otp",
            {"challenge_id": self.id, "otp": wrong(self.right)},
            address=f"198.51.100.{number % 200 + 1}",
            **more,
        )

    def guess_by_name(self, site: Site, number: int = 0) -> Any:
        body = {"identifier": self.name, "otp": wrong(self.right)}
        return site.post("/verify-otp", body, address=f"198.51.100.{number % 200 + 1}")

    def enter(self, site: Site) -> Any:
        return site.post("/verify-otp", {"challenge_id": self.id, "otp": self.right})


def door(site: Site) -> Door:
    """Register ann, and begin a login of hers."""
    site.join("ann")
    site.watch.ahead += 61
    return Door(site, site.login("ann"))


# --- at once ----------------------------------------------------------------------------------------------------------


@on_every_store
@with_both_credentials
def test_parallel_guesses_of_many_threads(sites: Sites, credentials: str) -> None:
    site = sites(CREDENTIALS=credentials)
    it = door(site)
    with comparisons() as compared:
        answers = in_threads(SHOTS, lambda number: it.guess(site, number))
    assert list(compared.values()) == [5]
    assert sorted(a.json["attempts_left"] for a in answers if a.json["code"] == "otp_invalid") == [0, 1, 2, 3, 4]
    assert [a.json["code"] for a in answers].count("challenge_invalid") == SHOTS - 5
    assert it.enter(site).json["code"] == "challenge_invalid"


@on_every_store
def test_parallel_guesses_by_identifier(sites: Sites) -> None:
    site = sites(CHALLENGE_LOOKUP="identifier")
    it = door(site)
    with comparisons() as compared:
        answers = in_threads(SHOTS, lambda number: (it.guess, it.guess_by_name)[number % 2](site, number))
    assert list(compared.values()) == [5]
    # Guesses by identifier are charged before they are compared: more at once than the budget has are told so.
    assert {answer.status_code for answer in answers} <= {401, 429}


def test_parallel_guesses_in_copies_of_the_browsers_cookie(sites: Sites) -> None:
    site = sites(CREDENTIALS="session")
    site.join("ann")
    site.watch.ahead += 61
    client = site.client()
    site.login("ann", client)
    cookie = client.get_cookie("session")
    assert cookie is not None
    body = {"otp": wrong(site.code(mail("ann")))}
    with comparisons() as compared:
        # Each is the cookie as it was before any guess: no counter in it could be rewound.
        in_threads(SHOTS, lambda _: site.post("/verify-otp", body, client=site.client(session=cookie.value)))
    assert list(compared.values()) == [5]


def test_parallel_guesses_at_several_apps(sites: Sites) -> None:
    apps = [sites() for _ in range(3)]
    it = door(apps[0])
    with comparisons() as compared:
        in_threads(SHOTS, lambda number: it.guess(apps[number % 3], number))
    assert list(compared.values()) == [5]


@on_every_store
def test_parallel_guesses_over_several_challenges(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="20 per day; 20 per 30 days", LIVE_CHALLENGES=4)
    doors = [door(site)]
    for _ in range(2):
        site.watch.ahead += 61
        doors.append(Door(site, site.login("ann")))
    with comparisons() as compared:
        in_threads(24, lambda number: doors[number % 3].guess(site, number))
    assert list(compared.values()) == [5, 5, 5]


@pytest.mark.parametrize("purpose", ["confirm", "step_up"])
def test_parallel_guesses_of_every_purpose(sites: Sites, purpose: str) -> None:
    site = sites()
    if purpose == "confirm":
        it = Door(site, site.register("ann").json)
    else:
        token = site.join("ann")["access_token"]
        site.watch.ahead += 61
        it = Door(site, site.post("/step-up", {}, token=token).json)
    with comparisons() as compared:
        in_threads(SHOTS, lambda number: it.guess(site, number))
    assert list(compared.values()) == [5]


def test_parallel_guesses_of_a_decoy_are_answered_alike(sites: Sites) -> None:
    site = sites(FIRST_FACTOR="otp")
    asked = site.post("/login", {"identifier": "nobody@example.org"}).json
    body = {"challenge_id": asked["challenge_id"], "otp": "12345678"}
    with comparisons() as compared:
        answers = in_threads(SHOTS, lambda _: site.post("/verify-otp", body))
    assert list(compared.values()) == [5]
    assert sorted(a.json["attempts_left"] for a in answers if a.json["code"] == "otp_invalid") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("attempts", [1, 10])
def test_as_many_guesses_as_the_setting_says(sites: Sites, attempts: int) -> None:
    site = sites(MAX_ATTEMPTS=attempts, ACCOUNT_LIMITS="20 per day; 20 per 30 days")
    it = door(site)
    with comparisons() as compared:
        in_threads(SHOTS, lambda number: it.guess(site, number))
    assert list(compared.values()) == [attempts]


# --- one after the other ----------------------------------------------------------------------------------------------


def test_guesses_from_many_addresses(sites: Sites) -> None:
    site = sites(VERIFY_IP_LIMITS="2 per 5 minutes")
    it = door(site)
    with comparisons() as compared:
        answers = [it.guess(site, number).json["code"] for number in range(12)]
    assert answers == ["otp_invalid"] * 5 + ["challenge_invalid"] * 7
    assert list(compared.values()) == [5]


@on_every_store
def test_a_restart_between_guesses(sites: Sites) -> None:
    it = door(first := sites())
    with comparisons() as compared:
        for _ in range(3):
            it.guess(first)
        again = sites()
        left = [it.guess(again).json.get("attempts_left") for _ in range(3)]
    assert left == [1, 0, None]
    assert list(compared.values()) == [5]


def test_another_code_between_guesses(sites: Sites) -> None:
    site = sites()
    it = door(site)
    with comparisons() as compared:
        for _ in range(3):
            it.guess(site)
        site.watch.ahead += 61
        again = site.post("/resend-otp", {"challenge_id": it.id})
        assert (again.status_code, again.json["attempts_left"]) == (202, 2)
        it.right = site.code(mail("ann"))
        for _ in range(4):
            it.guess(site)
    assert list(compared.values()) == [5]
    assert it.enter(site).json["code"] == "challenge_invalid"


def test_an_expired_code_that_is_replaced_between_guesses(sites: Sites) -> None:
    site = sites()
    it = door(site)
    with comparisons() as compared:
        for _ in range(3):
            it.guess(site)
        site.watch.ahead += 301
        assert it.guess(site).json["code"] == "otp_expired"
        assert site.post("/resend-otp", {"challenge_id": it.id}).json["attempts_left"] == 2
        it.right = site.code(mail("ann"))
        for _ in range(4):
            it.guess(site)
    assert list(compared.values()) == [5]


def test_a_spent_challenge_gets_no_other_code(sites: Sites) -> None:
    site = sites()
    it = door(site)
    for _ in range(5):
        it.guess(site)
    site.watch.ahead += 61
    sent = len(site.messages)
    refused = site.post("/resend-otp", {"challenge_id": it.id})
    assert (refused.status_code, refused.json["code"]) == (401, "challenge_invalid")
    assert len(site.messages) == sent


@pytest.mark.parametrize("otp", [None, "", "12345", "1234567", FULL_WIDTH, "12345a", 123456, ["123456"]], ids=ascii)
def test_what_is_no_code_is_not_compared_and_costs_nothing(sites: Sites, otp: object) -> None:
    site = sites()
    it = door(site)
    body = {"challenge_id": it.id} if otp is None else {"challenge_id": it.id, "otp": otp}
    with comparisons() as compared:
        assert [site.post("/verify-otp", body).status_code for _ in range(6)] == [400] * 6
        assert not compared
    assert it.enter(site).status_code == 200


# --- what the host does around it -------------------------------------------------------------------------------------


def guesses(site: Site, it: Door, count: int = 12) -> None:
    """Guess on, whatever each request answers."""
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    for _ in range(count):
        it.guess(site)


@on_every_store
def test_the_hosts_rollback_gives_no_attempt_back(sites: Sites) -> None:
    site = sites()
    db: SQLAlchemy = site.app.extensions["sqlalchemy"]

    @site.app.before_request
    def begin() -> None:
        db.session.execute(sa.text("SELECT 1"))

    @site.app.after_request
    def undo(response: Any) -> Any:
        db.session.rollback()
        return response

    it = door(site)
    with comparisons() as compared:
        guesses(site, it)
    assert list(compared.values()) == [5]


@pytest.mark.services
def test_a_hosts_transaction_that_has_written_is_no_cover(tmp_path: Path) -> None:
    # Not on SQLite: there the guess is refused, uncompared, while the host's own session holds the file.
    with database_url("postgresql", tmp_path) as url, Site(url, tmp_path) as site:
        assert url.startswith(POSTGRESQL)
        db: SQLAlchemy = site.app.extensions["sqlalchemy"]
        armed: list[bool] = []

        @site.app.before_request
        def write() -> None:
            if armed:
                db.session.execute(sa.text("UPDATE users SET role = 'changed'"))

        @site.app.after_request
        def undo(response: Any) -> Any:
            db.session.rollback()
            return response

        it = door(site)
        armed.append(True)
        with comparisons() as compared:
            guesses(site, it)
        assert list(compared.values()) == [5]


def test_a_write_of_the_host_that_blocks_sqlite_lets_no_guess_through(sites: Sites) -> None:
    site = sites()
    db: SQLAlchemy = site.app.extensions["sqlalchemy"]
    armed: list[bool] = []

    @site.app.before_request
    def write() -> None:
        if armed:
            db.session.execute(sa.text("UPDATE users SET role = 'changed'"))

    it = door(site)
    armed.append(True)
    with comparisons() as compared:
        guesses(site, it, 3)
        assert not compared
        armed.clear()
        guesses(site, it)
    assert list(compared.values()) == [5]


def test_a_view_of_the_host_that_raises_afterwards(sites: Sites) -> None:
    site = sites()
    armed: list[bool] = []

    @site.app.after_request
    def fail(response: Any) -> Any:
        if armed:
            raise RuntimeError("of the host")
        return response

    it = door(site)
    armed.append(True)
    with comparisons() as compared:
        guesses(site, it)
    assert list(compared.values()) == [5]


def test_a_shaper_that_raises(sites: Sites) -> None:
    site = sites()
    it = door(site)

    @site.auth.response_shaper
    def fail(answer: Any) -> Any:
        raise RuntimeError("of the host")

    with comparisons() as compared:
        guesses(site, it)
    assert list(compared.values()) == [5]


def test_a_signal_handler_that_raises(sites: Sites) -> None:
    site = sites()
    it = door(site)

    def fail(sender: Any, event: Any, **_: Any) -> None:
        raise RuntimeError("of the host")

    signals.otp_failed.connect(fail, site.app)
    with comparisons() as compared:
        guesses(site, it)
    assert list(compared.values()) == [5]


def test_a_log_handler_that_raises(sites: Sites) -> None:
    site = sites()
    it = door(site)

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("of the host")

    logger, broken = logging.getLogger("flask_otpauth"), Broken()
    logger.addHandler(broken)
    try:
        with comparisons() as compared:
            guesses(site, it)
    finally:
        logger.removeHandler(broken)
    assert list(compared.values()) == [5]


def test_a_request_that_dies_while_it_compares(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = sites()
    it = door(site)
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    with monkeypatch.context() as patched:
        patched.setattr(Challenges, "matches", lambda *_: 1 / 0)
        assert [it.guess(site).status_code for _ in range(6)] == [500] * 5 + [401]
    with comparisons() as compared:
        assert it.enter(site).json["code"] == "challenge_invalid"
    assert not compared


# --- counters that lie ------------------------------------------------------------------------------------------------


@on_every_store
@pytest.mark.parametrize("left", [0, -1])
def test_a_counter_below_one_is_exhausted(sites: Sites, url: str, left: int) -> None:
    site = sites()
    it = door(site)
    change(url, f"UPDATE otpauth_challenge SET attempts_left = {left}")
    with comparisons() as compared:
        assert it.enter(site).json["code"] == "challenge_invalid"
    assert not compared


@on_every_store
@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM otpauth_guard", "UPDATE otpauth_guard SET log = 'nonsense'"],
    ids=["missing", "not a log"],
)
def test_a_budget_that_is_no_budget_is_spent(sites: Sites, url: str, damage: str) -> None:
    site = sites()
    it = door(site)
    change(url, damage)
    with comparisons() as compared:
        assert it.enter(site).status_code == 429
    assert not compared


def change(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


# --- the table of the docs --------------------------------------------------------------------------------------------


@pytest.mark.services
def test_the_race_table_has_no_row_above_what_is_allowed() -> None:
    attacks = [ATTACKS[number].name for number in (0, 2, 6, 12)]
    size = ["--threads", "12", "--processes", "2", "--attacks", *attacks]
    command = [sys.executable, "-m", "tests.security.races", *size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = LINE.findall(done.stdout)
    assert [line[:2] for line in lines[::2]] == [(store, attack) for store in STORES for attack in attacks]
    # Exactly what is allowed: one less would refuse people who mean well, or be an attack that doesn't attack.
    assert [line for line in lines if int(line[2]) != int(line[4])] == []


def test_the_race_table_of_the_docs_is_of_these_attacks() -> None:
    page = (ROOT / "docs" / "explanation" / "races.md").read_text(encoding="utf-8")
    lines = LINE.findall(page)
    assert {line[:2] for line in lines} == {(store, attack.name) for store in STORES for attack in ATTACKS}
    assert [line for line in lines if int(line[2]) > int(line[4])] == []
