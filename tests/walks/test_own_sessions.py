"""Users see their logins and end them, over HTTP and on every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_otpauth.signals import session_revoked, user_logged_out
from tests.security.doors import PASSWORD, Site, site_on
from tests.services import KINDS

FOREIGN = {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_on(request.param, tmp_path_factory.mktemp("own"), OTPAUTH_CREDENTIALS=("jwt", "session")) as made:
        yield made


class Login:
    """One login of a user, by its token alone or by its cookie alone."""

    def __init__(self, site: Site, username: str | None = None, agent: str = "Firefox") -> None:
        site.clock.advance(61)
        self.site, browser = site, site.app.test_client()
        browser.environ_base["HTTP_USER_AGENT"] = agent
        if username is None:
            done = site.enter(browser)
            self.username = str(done["username"])
        else:
            asked = site.post(browser, "/login", {"identifier": username, "password": PASSWORD})
            done, self.username = site.prove(browser, asked), username
        self.browser: FlaskClient = browser
        self.bearer = {"Authorization": f"Bearer {done['access_token']}"}

    def again(self, agent: str = "Firefox") -> Login:
        return Login(self.site, self.username, agent)

    def open(self, method: str, path: str, **options: Any) -> Any:
        return self.site.app.test_client().open(f"/auth{path}", method=method, headers=self.bearer, **options)

    @property
    def id(self) -> str:
        return str(self.open("GET", "/me").json["session"]["id"])

    def listed(self) -> list[dict[str, Any]]:
        answer = self.open("GET", "/sessions")
        assert answer.status_code == 200
        return list(answer.json["sessions"])

    def is_open(self) -> bool:
        by_token = self.open("GET", "/me").status_code
        assert self.browser.get("/auth/me").status_code == by_token
        return bool(by_token == 200)


def heard(signal: Any, site: Site) -> list[Any]:
    events: list[Any] = []

    def receive(_app: Any, *, event: Any, **_: Any) -> None:
        events.append(event)

    signal.connect(receive, site.app, weak=False)
    return events


def test_a_user_sees_his_logins_and_nobody_elses(site: Site) -> None:
    one = Login(site)
    other, _stranger = one.again("Phone of Ann"), Login(site)
    seen = other.listed()
    assert [entry["id"] for entry in seen] == [other.id, one.id]
    assert [entry["current"] for entry in seen] == [True, False]
    assert [entry["user_agent"] for entry in seen] == ["Phone of Ann", "Firefox"]
    assert set(seen[0]["amr"]) == {"pwd", "otp", "sms", "mfa"}
    assert seen[0].keys() == {"id", "current", "user_agent", "amr", "created_at", "last_used_at", "expires_at"}
    # The same login by its cookie; the ids open nothing.
    assert other.browser.get("/auth/sessions").json["sessions"] == seen  # type: ignore[index]
    for entry in seen:
        bearer = {"Authorization": f"Bearer {entry['id']}"}
        assert site.app.test_client().get("/auth/me", headers=bearer).status_code == 401


def test_the_last_use_is_told(site: Site) -> None:
    one = Login(site)
    (entry,) = one.listed()
    assert entry["last_used_at"] == entry["created_at"]
    site.clock.advance(86_400)
    assert one.browser.get("/auth/me").status_code == 200
    (later,) = one.browser.get("/auth/sessions").json["sessions"]  # type: ignore[index]
    assert later["last_used_at"] == site.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert later["created_at"] == entry["created_at"]


def test_one_login_ends_another_at_once(site: Site) -> None:
    one = Login(site)
    lost, third = one.again(), one.again()
    events = heard(session_revoked, site)
    key = lost.id
    assert one.open("DELETE", f"/sessions/{key}").status_code == 204
    assert not lost.is_open()
    assert one.is_open()
    assert third.is_open()
    assert key not in {entry["id"] for entry in one.listed()}
    assert [dict(event.details) for event in events] == [{"session": key}]
    # It is as unknown now as one that never was.
    assert one.open("DELETE", f"/sessions/{key}").status_code == 400


def test_ending_the_own_login_is_a_logout(site: Site) -> None:
    one = Login(site)
    other = one.again()
    revoked, out = heard(session_revoked, site), heard(user_logged_out, site)
    assert one.browser.delete(f"/auth/sessions/{one.id}").status_code == 204
    with one.browser.session_transaction() as held:
        assert "_otpauth" not in held
    assert not one.is_open()
    assert other.is_open()
    assert (len(revoked), len(out)) == (0, 1)


def test_all_others_end_at_once(site: Site) -> None:
    one = Login(site)
    others, stranger = [one.again(), one.again()], Login(site)
    events = heard(session_revoked, site)
    assert one.open("DELETE", "/sessions").status_code == 204
    assert one.is_open()
    assert stranger.is_open()
    assert not any(other.is_open() for other in others)
    assert [dict(event.details) for event in events] == [{"count": 2}]
    assert one.open("DELETE", "/sessions").status_code == 204
    assert len(events) == 1


def test_another_users_login_is_like_one_that_never_was(site: Site) -> None:
    owner, thief = Login(site), Login(site)
    answers = [thief.open("DELETE", f"/sessions/{key}") for key in (owner.id, "A" * 43, "x", "%00", "é", "A" * 5000)]
    assert {(one.status_code, one.data) for one in answers} == {(400, answers[0].data)}
    assert answers[0].json["code"] == "validation_failed"
    assert answers[0].json["errors"] == [{"field": "id", "message": "There is no such session."}]
    assert owner.is_open()


def test_names_of_the_wire_leave_the_id_of_a_path(tmp_path: Any) -> None:
    config: dict[str, Any] = {
        "OTPAUTH_FIELD_NAMES": {"id": "user_id"},
        "OTPAUTH_ROUTES": {"end_session": "/logins/<id>", "sessions": "/logins", "end_other_sessions": False},
    }
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=("jwt", "session"), **config) as site:
        browser = site.app.test_client()
        site.enter(browser)
        (entry,) = browser.get("/logins").json["sessions"]  # type: ignore[index]
        refused = browser.delete("/logins/other")
        assert refused.json["errors"][0]["field"] == "id"  # type: ignore[index]
        assert browser.delete("/logins").status_code == 405
        assert browser.delete(f"/logins/{entry['id']}").status_code == 204
        assert browser.get("/auth/me").status_code == 401


def test_who_is_not_in_sees_and_ends_nothing(site: Site) -> None:
    one = Login(site)
    for method, path in (("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", f"/sessions/{one.id}")):
        answer = site.app.test_client().open(f"/auth{path}", method=method)
        assert (answer.status_code, answer.json["code"]) == (401, "authentication_required")  # type: ignore[index]
    assert one.is_open()


def test_another_site_ends_nothing_by_a_cookie(site: Site) -> None:
    one = Login(site)
    other = one.again()
    for path in ("/auth/sessions", f"/auth/sessions/{other.id}", f"/auth/sessions/{one.id}"):
        answer = one.browser.delete(path, headers=FOREIGN)
        assert (answer.status_code, answer.json["code"]) == (403, "cross_origin")  # type: ignore[index]
    assert one.is_open()
    assert other.is_open()


def test_no_field_is_taken(site: Site) -> None:
    one = Login(site)
    for path in ("/sessions", f"/sessions/{one.id}"):
        assert one.open("DELETE", path, json={"id": one.id}).status_code == 400
    assert one.is_open()
