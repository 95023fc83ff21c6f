"""Views for Flask-Admin, over HTTP: who sees them, what they show, and what they never show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_admin import Admin, BaseView, expose
from flask_babel import Babel
from werkzeug.test import TestResponse

from flask_otpauth import OTPAuth
from flask_otpauth.admin import RoleRequired, add_views, guarded_index
from flask_otpauth.testing import capture_messages
from tests.services import database_url

PASSWORD = "correct horse battery"
PHONES = {"ann": "+972508464336", "ben": "+972508464337"}
PAGES = ("/admin/otpauth_users/", "/admin/otpauth_sessions/", "/admin/otpauth_events/")

Maker = Callable[..., Flask]


@dataclass
class Host:
    """An app with an administration, its users, and everything in its tables that opens something."""

    app: Flask
    codes: list[str]

    def client(self, name: str | None = None) -> FlaskClient:
        """Give a browser, logged in by a password and a code where a name is given."""
        client = self.app.test_client()
        if name is not None:
            with capture_messages(self.app) as messages:
                body = {"identifier": name, "password": PASSWORD}
                asked = client.post("/auth/login", json=body, headers={"User-Agent": f"{name}'s browser"})
                code = str(messages[-1].code)
                proof = {"challenge_id": asked.json["challenge_id"], "otp": code}
                done = client.post("/auth/verify-otp", json=proof, headers={"User-Agent": f"{name}'s browser"})
            assert done.status_code == 200, done.json
            self.codes.append(code)
        return client

    def table(self, name: str, query: str = "SELECT * FROM {}") -> list[Any]:
        with self.app.app_context(), self.app.extensions["sqlalchemy"].engine.connect() as connection:
            return list(connection.execute(sa.text(query.format(name))).mappings())

    def execute(self, statement: str) -> None:
        with self.app.app_context(), self.app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.execute(sa.text(statement))


def administered(app: Flask, **options: Any) -> Admin:
    Babel(app)  # where Flask-Babel is installed, Flask-Admin wants it on the app
    return Admin(app, **options)


def set_up(app: Flask, clock: Any) -> Host:
    OTPAuth(app, clock=clock)
    add_views(administered(app, index_view=guarded_index()))
    host = Host(app, [])
    for name in ("ann", "ben"):
        with capture_messages(app) as messages:
            body = {"username": name, "email": f"{name}@example.org", "phone": PHONES[name]}
            client = app.test_client()
            asked = client.post("/auth/register", json={**body, "password": PASSWORD})
            code = str(messages[-1].code)
            proof = {"challenge_id": asked.json["challenge_id"], "otp": code}
            assert client.post("/auth/verify-otp", json=proof).status_code == 200
            host.codes.append(code)
    host.execute("UPDATE users SET role = 'admin' WHERE username = 'ann'")
    return host


CONFIG: dict[str, Any] = {
    "OTPAUTH_CREDENTIALS": ("session",),
    "OTPAUTH_PHONE_REGION": "IL",
    "OTPAUTH_SEND_LIMITS": "100 per hour",
    "OTPAUTH_SEND_IP_LIMITS": "100 per hour",
}


@pytest.fixture
def host(make_app: Maker, clock: Any) -> Host:
    return set_up(make_app(**CONFIG), clock)


def shown(response: TestResponse) -> str:
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.get_data(as_text=True)


# --- who sees it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("ben", 403), ("ann", 200)])
def test_only_who_has_the_role_sees_a_page(host: Host, name: str | None, status: int) -> None:
    client = host.client(name)
    for page in ("/admin/", *PAGES):
        response = client.get(page)
        assert response.status_code == status
        assert (response.mimetype == "application/problem+json") == (status != 200)
        assert response.headers["Cache-Control"] == "no-store"


def test_with_pages_a_browser_without_the_role_gets_a_page(make_app: Maker, clock: Any) -> None:
    ben = set_up(make_app(OTPAUTH_PAGES=True, **CONFIG), clock).client("ben")
    for page in ("/admin/", *PAGES):
        response = ben.get(page, headers={"Accept": "text/html"})
        assert (response.status_code, response.mimetype) == (403, "text/html")
        assert "Your account has none of the roles that this needs." in response.text


def doors(app: Flask) -> list[tuple[str, str]]:
    """Give every method of every route of our views."""
    return [
        (method, re.sub("<.*>", "csv", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("otpauth_") and not rule.endpoint.endswith(".static")
        for method in sorted(rule.methods or ())
        if method != "OPTIONS"
    ]


def test_every_route_refuses_strangers_and_users_without_the_role(host: Host) -> None:
    found = doors(host.app)
    assert len(found) > 25
    stranger, ben = host.client(), host.client("ben")
    assert {stranger.open(path, method=method).status_code for method, path in found} == {401}
    assert {ben.open(path, method=method).status_code for method, path in found} == {403}


def test_a_role_that_is_taken_away_closes_the_door_at_once(host: Host) -> None:
    ann = host.client("ann")
    shown(ann.get(PAGES[0]))
    host.execute("UPDATE users SET role = 'user' WHERE username = 'ann'")
    assert ann.get(PAGES[0]).status_code == 403


def test_the_menu_names_only_what_may_be_opened(make_app: Maker, clock: Any) -> None:
    app = make_app(**CONFIG)
    OTPAuth(app, clock=clock)
    add_views(administered(app))  # the app's own first page is for everybody
    assert "otpauth_" not in shown(app.test_client().get("/admin/"))


def test_the_apps_own_views_are_guarded_by_the_same_check(make_app: Maker, clock: Any) -> None:
    class Orders(RoleRequired, BaseView):  # type: ignore[misc]
        roles = frozenset({"clerk"})

        @expose("/")  # type: ignore[untyped-decorator]
        def index(self) -> str:
            return "orders"

    app = make_app(**CONFIG)
    OTPAuth(app, clock=clock)
    administered(app).add_view(Orders(endpoint="orders"))
    assert app.test_client().get("/admin/orders/").status_code == 401


# --- what it shows ------------------------------------------------------------------------------------------------


def test_users_are_shown_with_what_identifies_them(host: Host) -> None:
    page = shown(host.client("ann").get(PAGES[0]))
    for word in ("ann@example.org", "+972508464336", "ben@example.org", "admin"):
        assert word in page


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("b", ["ben"]),
        ("BEN@", ["ben"]),
        ("1", ["ann"]),
        ("0508464337", ["ben"]),
        ("%", []),
        ("nobody", []),
        ("\0", ["ann", "ben"]),
    ],
)
def test_users_are_found_by_the_beginning_of_a_name_or_by_key(host: Host, search: str, found: list[str]) -> None:
    page = shown(host.client("ann").get(PAGES[0], query_string={"search": search}))
    assert [name for name in ("ann", "ben") if f"{name}@example.org" in page] == found


def test_sessions_are_shown_and_found_by_user(host: Host) -> None:
    ann, _ = host.client("ann"), host.client("ben")
    page = shown(ann.get(PAGES[1]))
    assert "ann&#39;s browser" in page
    assert "ben&#39;s browser" in page
    page = shown(ann.get(PAGES[1], query_string={"search": "ben@example.org"}))
    assert "ben&#39;s browser" in page
    assert "ann&#39;s browser" not in page


def test_events_are_shown_newest_first_and_found_by_user(host: Host) -> None:
    ann = host.client("ann")
    page = shown(ann.get(PAGES[2]))
    assert page.index("user_logged_in") < page.rindex("user_registered")
    page = shown(ann.get(PAGES[2], query_string={"search": "ben@example.org"}))
    assert "user_registered" in page
    assert re.search(r">\s*ben\s*<", page)
    assert not re.search(r">\s*ann\s*<", page)


def test_pages_follow_one_another(host: Host) -> None:
    for number in range(30):
        host.execute(
            f"INSERT INTO users (username, role, active, mfa_enabled, created_at) "
            f"VALUES ('guest{number:02}', 'user', 1, 0, '2026-01-01')"
        )
    ann = host.client("ann")
    first, second = (shown(ann.get(PAGES[0], query_string={"page": page, "search": "guest"})) for page in (0, 1))
    assert "guest00" in first
    assert "guest29" not in first
    assert "guest29" in second
    assert "guest00" not in second


def test_no_number_in_the_address_breaks_a_page(host: Host) -> None:
    ann = host.client("ann")
    for query in ("page=99999999999999999999", "page=-5", "page_size=-1", "page=x", "sort=7&desc=1", "search=%00"):
        for page in PAGES:
            assert ann.get(f"{page}?{query}").status_code == 200


# --- what it never shows ------------------------------------------------------------------------------------------


def secrets_of(host: Host) -> set[str]:
    """Give all that opens something, in the forms in which a page could show it."""
    found = set(host.codes)
    rows = host.table("users") + host.table("otpauth_session") + host.table("otpauth_challenge")
    rows += host.table("otpauth_guard") + host.table("otpauth_client") + host.table("otpauth_flags")
    names = {"password_hash", "cookie", "refresh", "previous", "digest", "key", "log", "binding", "data"}
    for row in rows:
        for value in (value for name, value in row.items() if name in names and value):
            found |= {value.hex(), repr(value)} if isinstance(value, bytes) else {str(value)}
    return found


def test_no_code_hash_or_digest_is_on_any_page(host: Host) -> None:
    ann, ben = host.client("ann"), host.client("ben")
    secrets = secrets_of(host)
    assert len(secrets) > 12
    cookies = {str(cookie.value) for client in (ann, ben) for cookie in client._cookies.values()}  # type: ignore[attr-defined]
    for page in PAGES:
        text = shown(ann.get(page))
        assert [one for one in secrets | cookies if one in text] == []
        for word in ("password", "$2b$", "digest", "refresh"):
            assert word not in text.lower().replace("refresh.", "")


def test_a_row_has_no_attribute_for_a_secret(host: Host) -> None:
    host.client("ben")
    service = host.app.extensions["otpauth"]
    with host.app.test_request_context():
        users = service.administration.users("", offset=0, limit=10)
        sessions = service.administration.sessions("", offset=0, limit=10)
    assert {user.password_hash for user in users} == {None}
    assert {session.cookie for session in sessions} == {None}


# --- what it changes ----------------------------------------------------------------------------------------------


def rows_and_token(client: FlaskClient, page: str) -> tuple[list[str], str]:
    ids = re.findall(r'name="id"[^>]*value="([\w-]{43})"', page)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token is not None
    return ids, token[1]


def test_an_administrator_ends_sessions(host: Host) -> None:
    ann, ben = host.client("ann"), host.client("ben")
    assert ben.get("/auth/me").status_code == 200
    rows, token = rows_and_token(ann, shown(ann.get(PAGES[1], query_string={"search": "ben"})))
    assert len(rows) == 2  # his registration logged him in, too
    for row in rows:
        done = ann.post(f"{PAGES[1]}delete/", data={"id": row, "csrf_token": token, "url": f"{PAGES[1]}?search=ben"})
        assert (done.status_code, done.location) == (302, f"{PAGES[1]}?search=ben")
        assert "The session has been ended." in shown(ann.get(PAGES[1]))
    assert ben.get("/auth/me").status_code == 401
    assert ann.get("/auth/me").status_code == 200
    events = [one for one in host.table("otpauth_event") if one["name"] == "session_revoked"]
    assert [(one["user_id"], '"by":"1"' in one["details"]) for one in events] == [("2", True)] * 2
    again = ann.post(f"{PAGES[1]}delete/", data={"id": rows[0], "csrf_token": token}, follow_redirects=True)
    assert "That session is over already." in shown(again)


def test_ending_a_session_is_called_so(host: Host) -> None:
    ann = host.client("ann")
    page = shown(ann.get(PAGES[1]))
    assert re.search(r'<button[^>]*title="End this session"', page)
    assert "safeConfirm('End this session? Its user has to log in again there.')" in page
    answer = ann.post(f"{PAGES[1]}delete/", data={"id": "x", "csrf_token": "bad"}, follow_redirects=True)
    for text in (page, shown(answer)):
        assert "ecord" not in text.replace("Record(s)", "")


@pytest.mark.parametrize("case", ["no token", "other site"])
def test_another_site_ends_no_session(host: Host, case: str) -> None:
    ann, ben = host.client("ann"), host.client("ben")
    rows, token = rows_and_token(ann, shown(ann.get(PAGES[1], query_string={"search": "ben"})))
    for row in rows:
        if case == "no token":
            ann.post(f"{PAGES[1]}delete/", data={"id": row})
        else:
            headers = {"Sec-Fetch-Site": "cross-site"}
            answer = ann.post(f"{PAGES[1]}delete/", data={"id": row, "csrf_token": token}, headers=headers)
            assert answer.json["code"] == "cross_origin"
    assert ben.get("/auth/me").status_code == 200


def test_an_id_of_nothing_ends_nothing(host: Host) -> None:
    ann = host.client("ann")
    _, token = rows_and_token(ann, shown(ann.get(PAGES[1])))
    for row in ("", "x", "ü" * 43, "A" * 43, "A" * 4000):
        assert ann.post(f"{PAGES[1]}delete/", data={"id": row, "csrf_token": token}).status_code == 302
        assert ann.get("/auth/me").status_code == 200


def test_users_and_events_can_only_be_looked_at(host: Host) -> None:
    ann = host.client("ann")
    _, token = rows_and_token(ann, shown(ann.get(PAGES[1])))
    before = host.table("users"), len(host.table("otpauth_event"))
    data = {"id": "2", "username": "eve", "role": "admin", "action": "delete", "rowid": "2", "list_form_pk": "2"}
    for page in (PAGES[0], PAGES[2]):
        for action in ("delete", "new", "edit", "action", "ajax/update"):
            answer = ann.post(f"{page}{action}/?id=2", data={**data, "csrf_token": token})
            assert answer.status_code in {302, 404, 405}
    assert (host.table("users"), len(host.table("otpauth_event"))) == before


# --- setting up ---------------------------------------------------------------------------------------------------


def test_it_is_put_on_after_the_extension(make_app: Maker) -> None:
    with pytest.raises(RuntimeError, match="OTPAuth"):
        add_views(Admin(make_app()))
    with pytest.raises(RuntimeError, match="OTPAuth"):
        add_views(Admin())


def test_a_role_given_as_text_is_a_mistake(make_app: Maker) -> None:
    app = make_app()
    OTPAuth(app)
    with pytest.raises(TypeError, match="roles"):
        add_views(Admin(app), roles="admin")


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_it_is_the_same_on_other_databases(make_app: Maker, clock: Any, tmp_path: Path, kind: str) -> None:
    with database_url(kind, tmp_path) as url:
        host = set_up(make_app(SQLALCHEMY_DATABASE_URI=url, **CONFIG), clock)
        ann = host.client("ann")
        for page in PAGES:
            shown(ann.get(page))
            shown(ann.get(page, query_string={"search": "ben"}))
        assert "ben@example.org" in shown(ann.get(PAGES[0], query_string={"search": "ben@"}))
        with host.app.app_context():
            host.app.extensions["sqlalchemy"].engine.dispose()
