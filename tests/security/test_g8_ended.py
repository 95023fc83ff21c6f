"""G8: after logout, revocation, disabling or deletion, the next request with that token or cookie is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_otpauth.crypto import base64url
from tests.security.doors import DOORS, OWN, PASSWORD, Site, copied, shut, site_on

BOTH = ("jwt", "session")
PLACES = [
    pytest.param(("sqlite", "ours", BOTH), id="sqlite"),
    pytest.param(("postgresql", "ours", BOTH), id="postgresql", marks=pytest.mark.services),
    pytest.param(("mariadb", "ours", BOTH), id="mariadb", marks=pytest.mark.services),
    pytest.param(("sqlite", "host", BOTH), id="a manager of the host"),
    pytest.param(("sqlite", "ours", ("jwt",)), id="tokens alone"),
    pytest.param(("sqlite", "ours", ("session",)), id="cookies alone"),
]


@pytest.fixture(scope="module", params=PLACES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kind, manager, credentials = request.param
    with site_on(kind, tmp_path_factory.mktemp("g8"), manager=manager, OTPAUTH_CREDENTIALS=credentials) as made:
        yield made


class Login:
    """A finished login, and what somebody has who copied all of it."""

    def __init__(self, site: Site) -> None:
        site.clock.reset()
        self.site, self.client = site, site.app.test_client()
        done = site.enter(self.client)
        self.user_id: str = done["user"]["id"]
        self.username: str = done["username"]
        self.access: str | None = done.get("access_token")
        self.refresh: str | None = done.get("refresh_token")
        self.cookies = copied(self.client)
        (row,) = self._rows()
        self.key: bytes = row.id

    def _rows(self) -> list[Any]:
        with self.site.app.app_context():
            return list(self.site.service.sessions.list(self.user_id))

    def is_open(self) -> bool:
        """Tell whether each credential opens each of its doors but the one that shuts them; uses nothing up."""
        quiet = tuple(door for door in DOORS if door[1] not in {"/auth/logout", "/auth/step-up", "/auth/refresh"})
        seen: list[int] = []
        if self.access:
            doors = tuple(door for door in quiet if door[1] != "/plain-refresh")
            seen += self.site.knock(self.access, doors=doors).values()
        if "session" in self.cookies:
            doors = tuple(door for door in quiet if door in OWN)
            seen += self.site.knock(cookies=self.cookies, doors=doors).values()
        return bool(seen) and set(seen) == {200}

    def is_shut(self) -> bool:
        """Tell whether no credential opens any door, alone or together."""
        held = {"session": self.cookies["session"]} if "session" in self.cookies else {}
        tries = [self.site.knock(cookies=self.cookies)]
        for token in filter(None, (self.access, self.refresh)):
            tries += [self.site.knock(token), self.site.knock(token, held)]
        return all(map(shut, tries))


def by_logout_with_the_token(login: Login) -> None:
    if login.access is None:
        return by_ending_the_session(login)
    headers = {"Authorization": f"Bearer {login.access}"}
    assert login.site.app.test_client().post("/auth/logout", headers=headers).status_code == 204
    return None


def by_logout_with_the_cookie(login: Login) -> None:
    if "session" not in login.cookies:
        return by_ending_the_session(login)
    assert login.client.post("/auth/logout").status_code == 204
    assert login.client.get("/auth/me").status_code == 401
    return None


def by_ending_the_session(login: Login) -> None:
    with login.site.app.app_context():
        assert login.site.service.sessions.end(login.key)


def by_ending_all_sessions(login: Login) -> None:
    with login.site.app.app_context():
        assert login.site.service.sessions.end_all(login.user_id) == 1


def by_ending_it_from_another_login(login: Login) -> None:
    _elsewhere(login, f"/sessions/{base64url(login.key)}")


def by_ending_all_others_from_another_login(login: Login) -> None:
    _elsewhere(login, "/sessions")


def _elsewhere(login: Login, path: str) -> None:
    """Log in as the same user from another browser, and end the login from there."""
    site, client = login.site, login.site.app.test_client()
    site.clock.advance(61)
    done = site.prove(client, site.post(client, "/login", {"identifier": login.username, "password": PASSWORD}))
    headers = {"Authorization": f"Bearer {done['access_token']}"} if "access_token" in done else {}
    assert client.delete(f"/auth{path}", headers=headers).status_code == 204
    assert client.get("/auth/me", headers=headers).status_code == 200


def by_disabling_the_user(login: Login) -> None:
    def work(db: Any, user: Any) -> None:
        user.active = False

    _with_user(login, work)


def by_deleting_the_user(login: Login) -> None:
    _with_user(login, lambda db, user: db.session.delete(user))


def by_its_absolute_end(login: Login) -> None:
    # Kept from idling out, so that only this end is left.
    for _ in range(3):
        login.site.clock.advance(10 * 86_400)
        login.site.knock(cookies=login.cookies, doors=(("GET", "/auth/me"),))


def by_its_idle_end(login: Login) -> None:
    login.site.clock.advance(14 * 86_400 + 1)


def by_reuse_of_a_refresh_token(login: Login) -> None:
    if login.refresh is None:
        return by_ending_the_session(login)
    headers = {"Authorization": f"Bearer {login.refresh}"}
    post = login.site.app.test_client().post
    assert post("/auth/refresh", headers=headers).status_code == 200
    login.site.clock.advance(11)
    assert post("/auth/refresh", headers=headers).status_code == 401
    return None


ENDS = (
    by_logout_with_the_token,
    by_logout_with_the_cookie,
    by_ending_the_session,
    by_ending_all_sessions,
    by_ending_it_from_another_login,
    by_ending_all_others_from_another_login,
    by_disabling_the_user,
    by_deleting_the_user,
    by_its_absolute_end,
    by_its_idle_end,
    by_reuse_of_a_refresh_token,
)


def _with_user(login: Login, work: Callable[[Any, Any], object]) -> None:
    db = login.site.app.extensions["sqlalchemy"]
    with login.site.app.app_context():
        work(db, login.site.service.users.load(login.user_id))
        db.session.commit()


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_login_that_was_ended_opens_no_door(site: Site, end: Callable[[Login], None]) -> None:
    login, other = Login(site), Login(site)
    assert login.is_open()
    end(login)
    assert login.is_shut()
    if end not in {by_its_absolute_end, by_its_idle_end}:
        assert other.is_open()


def test_all_logins_of_a_user_end_but_the_one_that_is_kept(site: Site) -> None:
    login = Login(site)
    site.clock.advance(61)
    client = site.app.test_client()
    again = site.post(client, "/login", {"identifier": login.username, "password": PASSWORD})
    site.prove(client, again)
    with site.app.app_context():
        assert site.service.sessions.end_all(login.user_id, but=login.key) == 1
    assert login.is_open()
    if client.get_cookie("session"):
        assert client.get("/auth/me").status_code == 401


def test_a_code_that_was_sent_before_the_user_was_disabled_opens_nothing(site: Site) -> None:
    login = Login(site)
    site.clock.advance(61)
    client = site.app.test_client()
    asked = site.post(client, "/login", {"identifier": login.username, "password": PASSWORD})
    by_disabling_the_user(login)
    body = {"challenge_id": asked.json["challenge_id"], "otp": site.code}  # type: ignore[index]
    refused = site.post(client, "/verify-otp", body)
    assert (refused.status_code, refused.json["code"]) == (401, "challenge_invalid")  # type: ignore[index]
    assert shut(site.knock(cookies=copied(client)))


def test_a_step_up_that_was_begun_before_the_logout_revives_nothing(site: Site) -> None:
    login = Login(site)
    site.clock.advance(61)
    headers = {"Authorization": f"Bearer {login.access}"} if login.access else {}
    asked = login.client.post("/auth/step-up", headers=headers)
    assert asked.status_code == 202
    by_ending_the_session(login)
    body = {"challenge_id": asked.json["challenge_id"], "otp": site.code}  # type: ignore[index]
    refused = site.post(site.app.test_client(), "/verify-otp", body)
    assert (refused.status_code, refused.json["code"]) == (401, "challenge_invalid")  # type: ignore[index]
    assert login.is_shut()


def test_the_cookie_from_before_a_step_up_is_over(site: Site) -> None:
    login = Login(site)
    if "session" not in login.cookies:
        return
    site.clock.advance(61)
    asked = login.client.post("/auth/step-up")
    site.prove(login.client, asked)
    assert login.client.get("/auth/me").status_code == 200
    assert shut(site.knock(cookies=login.cookies))


def test_what_one_process_remembers_ends_with_a_logout_in_it(tmp_path: Any) -> None:
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=BOTH, OTPAUTH_SESSION_CACHE=30) as site:
        for end in (by_logout_with_the_token, by_logout_with_the_cookie, by_ending_all_sessions):
            login = Login(site)
            assert login.is_open()
            end(login)
            assert login.is_shut()


def test_the_logins_of_a_deleted_user_are_not_those_of_the_next_who_gets_his_key(tmp_path: Any) -> None:
    # SQLite gives the highest key out again once its row is deleted, in tables that don't forbid it as ours does.
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=BOTH) as site:
        login = Login(site)
        assert login.is_open()
        by_deleting_the_user(login)
        with site.app.app_context(), site.app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        heir: FlaskClient = site.app.test_client()
        assert site.enter(heir)["user"]["id"] == login.user_id
        assert login.is_shut()
