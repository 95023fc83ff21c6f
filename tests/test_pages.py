"""The HTML pages over HTTP: what they do, and what nobody can make them do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flask_bootstrap
import pytest
from flask import Blueprint, Flask, Response, render_template_string
from sqlalchemy.exc import OperationalError

import flask_otpauth
from flask_otpauth import OTPAuth, auth_required, current_user, otp_required
from flask_otpauth.signals import user_logged_out
from flask_otpauth.testing import assert_no_enumeration, capture_messages
from tests.visitors import ACCEPT, PASSWORD, Visitor

FORMS = ("register", "confirm", "login", "code", "resend", "logout", "step-up", "")
"""Every page that takes a form."""

Open = Callable[..., Visitor]


@pytest.fixture
def open_site(make_app: Callable[..., Flask], clock: Any) -> Iterator[Open]:
    """Give a maker of visitors, each of an app of its own."""
    with ExitStack() as stack:

        def make(set_up: Callable[[Flask], object] | None = None, **config: Any) -> Visitor:
            app = make_app(OTPAUTH_PAGES=True, **{f"OTPAUTH_{name}": value for name, value in config.items()})
            OTPAuth(app, clock=clock)
            app.add_url_rule("/private", "private", otp_required(lambda: f"hello {current_user.username}"))
            app.add_url_rule("/fresh", "fresh", otp_required(fresh=True)(lambda: "fresh"))
            if set_up is not None:
                set_up(app)
            return Visitor(app, stack.enter_context(capture_messages(app)))

        yield make


@pytest.fixture
def ann(open_site: Open) -> Visitor:
    """Give a visitor who is logged in."""
    visitor = open_site()
    assert visitor.confirm().location == "/account"
    return visitor


def another(visitor: Visitor) -> Visitor:
    """Give another browser at the same app."""
    return Visitor(visitor.client.application, visitor.messages)


# --- the way through ---


def test_a_view_leads_to_the_login_and_back(open_site: Open) -> None:
    ann = open_site()
    ann.confirm()
    ann.logout()
    refused = ann.get("/private?of=2026&x=a%20b")
    assert (refused.status_code, refused.headers["Cache-Control"]) == (302, "no-store")
    assert refused.location == "/account/login?next=/private?of%3D2026%26x%3Da%2520b"
    login = ann.get(refused.location)
    assert login.status_code == 200
    path = refused.location.removeprefix("/account/")
    asked = ann.login(path=path)
    assert asked.status_code == 303
    proved = ann.send(asked.location.removeprefix("/account/"), otp=ann.code)
    assert (proved.status_code, proved.location) == (303, "/private?of=2026&x=a%20b")
    assert ann.get(proved.location).text == "hello ann"


def test_the_pages_of_who_is_logged_in_already_lead_on(ann: Visitor) -> None:
    assert ann.page("login?next=/private").location == "/private"
    assert ann.page("register").location == "/account"


def test_a_registration_that_does_not_log_in_leads_to_the_login(open_site: Open) -> None:
    ann = open_site(LOGIN_ON_CONFIRM=False)
    assert ann.confirm().location == "/account/login"
    assert "Your account is ready" in ann.page("login").text


@pytest.mark.parametrize(("registration", "leads_to"), [("open", "/account/login"), ("login-code", "/account/code")])
def test_other_registrations_lead_on_too(open_site: Open, registration: str, leads_to: str) -> None:
    assert open_site(REGISTRATION=registration).register().location == leads_to


def test_a_closed_registration_has_no_page_and_no_link(open_site: Open) -> None:
    ann = open_site(REGISTRATION="closed")
    assert ann.page("register").status_code == ann.page("confirm").status_code == 404
    assert "register" not in ann.page("login").text


def test_a_login_by_code_alone_asks_for_no_password(open_site: Open) -> None:
    ann = open_site(FIRST_FACTOR="otp")
    ann.confirm()
    ann.logout()
    assert 'type="password"' not in ann.page("login").text
    assert ann.send("login", identifier="ann@example.org").location == "/account/code"
    assert "If the address is right" in ann.page("code").text
    assert ann.send("code", otp=ann.code).location == "/account"


def test_a_step_up_sends_a_code_and_leads_back(ann: Visitor, clock: Any) -> None:
    assert ann.get("/fresh").text == "fresh"
    clock.advance(301)
    refused = ann.get("/fresh")
    assert refused.location == "/account/step-up?next=/fresh"
    sent = len(ann.messages)
    page = ann.page("step-up?next=/fresh")
    assert "a***@example.org" in page.text
    assert len(ann.messages) == sent  # looking at it sends nothing
    before = ann.cookie
    assert ann.send("step-up?next=/fresh").location == "/account/code?next=/fresh"
    assert ann.send("code?next=/fresh", otp=ann.code).location == "/fresh"
    assert ann.get("/fresh").text == "fresh"
    ann.client.set_cookie("session", before)
    assert ann.get("/fresh").location == "/account/login?next=/fresh"


def test_nobody_has_to_prove_himself_again(ann: Visitor, clock: Any) -> None:
    clock.advance(901)
    page = ann.get(ann.get("/fresh").location).text
    assert '<a href="/account">Not now</a>' in page
    assert ann.get("/account").status_code == 200


def test_who_has_only_a_password_proves_that(open_site: Open, clock: Any) -> None:
    def set_up(app: Flask) -> None:
        app.add_url_rule("/recent", "recent", auth_required(fresh=True)(lambda: "recent"))

    ann = open_site(set_up, REGISTRATION="open", SECOND_FACTOR="never")
    ann.register()
    assert ann.login().location == "/account"
    clock.advance(301)
    assert ann.get("/recent").location == "/account/step-up?next=/recent"
    assert ann.send("step-up", password="something else").status_code == 401
    assert ann.send("step-up?next=/recent", password=PASSWORD).location == "/recent"
    assert ann.get("/recent").text == "recent"


def test_a_browser_without_the_role_gets_a_page(open_site: Open) -> None:
    ann = open_site(lambda app: app.add_url_rule("/staff", "staff", auth_required(roles={"admin"})(lambda: "staff")))
    ann.confirm()
    page = ann.get("/staff")
    assert (page.status_code, page.mimetype) == (403, "text/html")
    assert "Your account has none of the roles that this needs." in page.text
    assert '<a href="/account">Your account</a>' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Vary"] == "Accept, Authorization, Cookie"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'; object-src 'none'")
    assert ann.client.post("/staff", headers={"Accept": ACCEPT}).status_code == 405
    # Programs get the problem, as ever, and so does a browser of an app without pages.
    for headers in ({}, {"Accept": ACCEPT, "Authorization": "Bearer x"}):
        assert ann.client.get("/staff", headers=headers).mimetype == "application/problem+json"


def test_who_can_prove_nothing_is_told_so(open_site: Open) -> None:
    ann = open_site(REGISTRATION="open", SECOND_FACTOR=lambda user: bool(user.mfa_enabled))
    ann.register()
    ann.login()
    with ann.client.application.app_context():
        db = ann.client.application.extensions["sqlalchemy"]
        db.session.execute(db.text("UPDATE users SET mfa_enabled = 1"))
        db.session.commit()
    page = ann.page("step-up")
    assert page.status_code == 403
    assert "There is no proved address" in page.text


def test_a_login_that_the_host_began_goes_on_in_the_pages(open_site: Open) -> None:
    def set_up(app: Flask) -> None:
        auth = OTPAuth()

        @app.get("/callback")
        def callback() -> Response:
            from flask_otpauth.users import user_model

            db = app.extensions["sqlalchemy"]
            return auth.login(db.session.get(user_model(db), 1), amr=("oauth",))

    ann = open_site(set_up)
    ann.confirm()
    ann.logout()
    asked = ann.get("/callback?next=/private")
    assert (asked.status_code, asked.location) == (303, "/account/code?next=/private")
    assert ann.send("code?next=/private", otp=ann.code).location == "/private"
    assert ann.client.get("/callback").json["mfa_required"] is True
    # Within five seconds of the other one: a refusal is a page as any other of ours.
    refused = ann.get("/callback")
    assert refused.status_code == 429
    assert refused.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert refused.headers["Cache-Control"] == "no-store"
    assert {"Cookie", "Authorization"} <= set(refused.vary)


# --- codes ---


def test_a_wrong_code_stays_on_the_page(ann: Visitor) -> None:
    ann.logout()
    ann.login()
    wrong = ann.send("code", otp=ann.wrong)
    assert (wrong.status_code, "4 attempts left" in wrong.text) == (401, True)
    assert wrong.text.count("autofocus") == 1  # the summary has the focus, not the field
    malformed = ann.send("code", otp="12x")
    assert (malformed.status_code, "Enter the 6 digits" in malformed.text) == (400, True)
    assert ann.send("code", otp=f" {ann.code[:3]} {ann.code[3:]} ").location == "/account"


def test_the_last_wrong_code_leads_to_the_start(ann: Visitor) -> None:
    ann.logout()
    ann.login()
    assert [ann.send("code", otp=ann.wrong).status_code for _ in range(5)] == [401] * 4 + [303]
    assert "be used any more. Please start again." in ann.page("login").text
    assert ann.page("code").location == "/account/login"


def test_an_expired_code_can_be_replaced(ann: Visitor, clock: Any) -> None:
    ann.logout()
    ann.login()
    token = ann.token(ann.page("code"))
    clock.advance(300)
    late = ann.post("code", csrf_token=token, otp=ann.code)
    assert (late.status_code, "This code has expired." in late.text) == (401, True)
    assert ann.page("code").status_code == 200
    assert ann.send("resend", of="code").location == "/account/code"
    assert ann.send("code", otp=ann.code).location == "/account"


def test_another_code_has_to_wait(ann: Visitor, clock: Any) -> None:
    ann.logout()
    ann.login()
    early = ann.send("resend", of="code")
    assert (early.status_code, early.headers["Retry-After"]) == (429, "60")
    assert "try again in 1 minute" in early.text
    first = ann.code
    clock.advance(60)
    assert ann.send("resend", of="code").location == "/account/code"
    assert "A new code is on its way." in ann.page("code").text
    assert first == ann.code or ann.send("code", otp=first).status_code == 401
    assert ann.send("code", otp=ann.code).location == "/account"
    assert ann.page("resend").location == "/account/login"


def test_another_channel_can_be_chosen(open_site: Open, clock: Any) -> None:
    ann = open_site(PHONE_REGION="IL")
    ann.register(phone="0508464336")
    ann.send("confirm", otp=ann.code)
    ann.logout()
    ann.login()
    assert ann.messages[-1].channel == "sms"
    clock.advance(60)
    assert 'name="channel" value="email"' in ann.page("code").text
    ann.send("resend", of="code", channel="email")
    assert (ann.messages[-1].channel, "a***@example.org" in ann.page("code").text) == ("email", True)
    clock.advance(60)
    assert ann.send("resend", of="code", channel="pigeon").status_code == 400


def test_a_flow_that_is_over_leads_to_the_start(ann: Visitor, clock: Any) -> None:
    ann.logout()
    ann.login()
    clock.advance(900)
    assert ann.page("code").location == "/account/login"
    assert "The code has expired" in ann.page("login").text


def test_a_name_that_was_taken_meanwhile_leads_back_to_the_registration(open_site: Open) -> None:
    ann = open_site()
    other = another(ann)
    ann.register("ann", email="first@example.org")
    code = ann.code
    other.register("ann", email="second@example.org")
    other.send("confirm", otp=other.code)
    late = ann.send("confirm?next=/private", of="confirm?next=/private", otp=code)
    assert (late.status_code, late.location) == (303, "/account/register?next=/private")
    page = ann.get(late.location).text
    assert "Somebody else has taken that username in the meantime. Please register again with another one." in page
    assert page.count('role="status"') == 1
    # That registration is over in this browser, and another one works.
    assert ann.page("confirm").location == "/account/register"
    assert ann.register("anne", email="third@example.org").location == "/account/confirm"
    assert ann.send("confirm", otp=ann.code).location == "/account"


def test_a_code_belongs_to_the_browser_that_asked_for_it(ann: Visitor) -> None:
    ann.logout()
    ann.login()
    stranger = another(ann)
    assert stranger.page("code").location == "/account/login"
    refused = stranger.send("code", of="login", otp=ann.code)
    assert (refused.status_code, refused.location) == (303, "/account/login")
    assert stranger.send("resend", of="login").location == "/account/login"
    assert ann.send("code", otp=ann.code).location == "/account"


def test_a_form_names_no_challenge_of_its_own(ann: Visitor) -> None:
    # The id of another browser's challenge opens nothing in a form: the cookie alone names one.
    ann.logout()
    ann.login()
    theirs, code = re.search(r"c\.([\w-]{43})", _marks(ann)), ann.code
    assert theirs is not None
    bob = another(ann)
    bob.register("bob")
    if code == bob.code:
        pytest.skip("once in a million times the two codes are the same")
    assert bob.send("confirm", otp=code, challenge_id=theirs[1]).status_code == 401
    assert bob.get("/private").status_code == 302


def _marks(visitor: Visitor) -> str:
    with visitor.client.session_transaction() as session:
        return str(session["_otpauth"])


def test_each_page_takes_the_codes_of_its_own_purpose(open_site: Open) -> None:
    ann = open_site()
    ann.register()
    assert ann.page("code?next=/private").location == "/account/confirm?next=/private"
    assert ann.page("resend").location == "/account/confirm"


# --- what is asked for ---


def test_what_was_typed_is_shown_again_and_escaped(open_site: Open) -> None:
    ann = open_site()
    page = ann.register(email='"><script>alert(1)</script>')
    assert page.status_code == 400
    assert "<script>alert" not in page.text
    assert 'value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in page.text
    assert PASSWORD not in page.text
    assert 'href="#field-email"' in page.text
    assert 'aria-describedby="fault-email"' in page.text


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        (
            {"username": "1", "email": "nobody", "password": "short", "password_repeat": "other"},
            {"username", "email", "password", "password_repeat"},
        ),
        (
            {"username": "", "email": "nobody", "password": "short"},
            {"username", "email", "password", "password_repeat"},
        ),
        ({"username": "a" * 321, "password_repeat": PASSWORD + "s"}, {"username", "password_repeat"}),
        (
            {"username": "", "email": "", "phone": "123", "password": PASSWORD, "other": "x"},
            {"username", "phone", "other"},
        ),
    ],
)
def test_all_faults_of_a_registration_are_told_at_once(
    open_site: Open, fields: dict[str, str], wrong: set[str]
) -> None:
    ann = open_site()
    page = ann.register(**fields)
    assert page.status_code == 400
    told = set(re.findall(r'id="fault-(\w+)"', page.text))
    assert told | set(re.findall(r"<li>(\w+): ", page.text)) == wrong
    assert ann.messages == []
    assert ann.register().location == "/account/confirm"


def test_the_hint_of_a_username_tells_all_that_may_be_in_it(open_site: Open) -> None:
    hint = "3 to 64 letters, digits, dots, hyphens and underscores; a letter first."
    assert hint in open_site().page("register").text
    # Of a pattern of the app only the length can be told.
    page = open_site(USERNAME_PATTERN="[a-z]+", USERNAME_LENGTH=(5, 9)).page("register").text
    assert "5 to 9 characters." in page
    assert "a letter first" not in page


def test_one_of_two_addresses_is_enough(open_site: Open) -> None:
    page = open_site().page("register")
    assert page.text.count("(one of the two)") == 2


def test_one_address_of_one_is_needed(open_site: Open) -> None:
    page = open_site(REGISTER_FIELDS=("username", "password", "email?")).page("register")
    assert "(one of the two)" not in page.text
    assert "(optional)" not in page.text


def test_fields_have_their_wire_names(open_site: Open) -> None:
    ann = open_site(FIELD_NAMES={"otp": "code", "username": "login_name", "password": "secret"})
    ann.send("register", login_name="ann", email="ann@example.org", secret=" x" * 9, password_repeat=" x" * 9)
    assert ann.send("confirm", code=ann.code).location == "/account"
    ann.logout()
    # Blanks are part of a password, and of nothing else.
    assert ann.send("login", identifier=" ann ", secret=" x" * 9).location == "/account/code"


def test_no_text_with_a_control_character_comes_to_the_database(open_site: Open) -> None:
    ann = open_site(PROFILE_FIELDS=("name",), REGISTER_FIELDS=("username", "email", "password", "name"))
    assert ann.register(name="Ann").location == "/account/confirm"
    for name in ("A\x00nn", "A\nnn", "A\x9fnn"):
        page = ann.register("bob", name=name)
        assert (page.status_code, "a character or a file" in page.text) == (400, True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"identifier": "a" * 17_000, "password": PASSWORD}, 413),
        ({"identifier": ["ann", "bob"], "password": PASSWORD}, 400),
        ({"identifier": "ann\x00", "password": PASSWORD}, 400),
        ({"identifier": "ann", "password": PASSWORD, "a\x7fb": "c"}, 400),
        ({"identifier": "ann", "password": PASSWORD, "other": "field"}, 400),
        ({"identifier": "ann"}, 400),
        ({}, 400),
    ],
)
def test_bad_forms_are_told_in_the_page(ann: Visitor, fields: dict[str, Any], status: int) -> None:
    ann.logout()
    page = ann.send("login", **fields)
    assert page.status_code == status
    assert 'id="problem"' in page.text


def test_a_form_that_is_no_form_is_refused(ann: Visitor) -> None:
    for name in FORMS:
        page = ann.client.post(f"/account/{name}".rstrip("/"), json={"identifier": "ann"})
        assert page.status_code in {303, 400}, name


def test_too_many_wrong_passwords_are_told_with_the_time(ann: Visitor) -> None:
    ann.logout()
    answers = [ann.send("login", identifier="ann", password="something else") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[-1].headers["Retry-After"] == "900"
    assert "try again in 15 minutes" in answers[-1].text
    assert 'value="ann"' in answers[-1].text


def test_a_database_that_is_away_is_told(ann: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    # The pool of our own connections: what is asked of a server that doesn't answer fails there.
    monkeypatch.setattr("sqlalchemy.pool.base.Pool.connect", away)
    page = ann.get("/account")
    assert (page.status_code, "doesn't work at the moment" in page.text) == (503, True)


# --- nothing is told ---


def test_a_login_by_code_tells_nothing_of_who_is_there(open_site: Open, clock: Any) -> None:
    ann = open_site(FIRST_FACTOR="otp")
    ann.confirm()
    clock.advance(3600)
    real, nobody = another(ann), another(ann)
    pages = []
    for visitor, name in ((real, "ann"), (nobody, "bob")):
        steps = [visitor.send("login", identifier=name), visitor.page("code"), visitor.send("code", otp="1" * 8)]
        clock.advance(60)
        steps += [visitor.send("resend", of="code"), visitor.page("code")]
        clock.advance(240)
        pages.append([*steps, visitor.page("code")])
    for one, other in zip(*pages, strict=True):
        _assert_alike(one, other)


def _assert_alike(one: Any, other: Any) -> None:
    for page in (one, other):
        hidden = re.sub(
            r'name="csrf_token" value="[^"]+"|data-(now|expires-at|resend-at)="\d+"|\d\d:\d\d:\d\d', "", page.text
        )
        page.set_data(hidden)
    assert_no_enumeration(one, other)


def test_times_of_a_page_are_alike_for_nobody(open_site: Open, clock: Any) -> None:
    ann = open_site(FIRST_FACTOR="otp")
    ann.confirm()
    clock.advance(3600)
    shown = []
    for name in ("ann", "bob"):
        visitor = another(ann)
        visitor.send("login", identifier=name)
        first = visitor.page("code").text
        clock.advance(60)
        visitor.send("resend", of="code")
        times = [
            re.findall(r'data-(now|expires-at|resend-at)="(\d+)"', text) for text in (first, visitor.page("code").text)
        ]
        start = int(times[0][0][1])
        shown.append([[(key, int(value) - start) for key, value in one] for one in times])
    assert shown[0] == shown[1]


# --- forged requests ---


@pytest.mark.parametrize("name", FORMS)
def test_a_form_without_its_token_does_nothing(ann: Visitor, name: str) -> None:
    if name in {"register", "confirm", "login", "code", "resend"}:
        ann.logout()
        ann.login()
    others = another(ann).token(another(ann).page("login"))
    sent, marks = len(ann.messages), _marks(ann)
    fields = {"identifier": "ann", "password": PASSWORD, "otp": ann.code, "others": "yes"}
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "wrong"}, {"csrf_token": others}):
        refused = ann.post(name, **fields, **token)
        # The page of another purpose has no form to show again.
        assert (refused.status_code, refused.location) in {(400, None), (303, "/account/code")}
        assert refused.status_code == 400 or name == "confirm"
        assert len(ann.messages) == sent
        assert _marks(ann) == marks


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_another_site_does_nothing(ann: Visitor, name: str) -> None:
    token = ann.token(ann.page(""))
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        refused = ann.post(name, headers=headers, csrf_token=token, identifier="ann", password=PASSWORD)
        # Pages of a code have nothing to show where there is none.
        assert refused.status_code == (303 if name in {"confirm", "code", "resend"} else 403)
        assert ann.get("/private").text == "hello ann"


def test_another_site_logs_nobody_in(ann: Visitor) -> None:
    ann.logout()
    token = ann.token(ann.page("login"))
    fields = {"csrf_token": token, "identifier": "ann", "password": PASSWORD}
    refused = ann.post("login", headers={"Sec-Fetch-Site": "cross-site"}, **fields)
    assert (refused.status_code, "came from another site" in refused.text) == (403, True)
    assert ann.page("code").status_code == 303


def test_an_app_without_tokens_still_refuses_other_sites(open_site: Open) -> None:
    ann = open_site(lambda app: app.config.update(WTF_CSRF_ENABLED=False))
    assert "csrf_token" not in ann.page("register").text
    fields = {"username": "ann", "email": "ann@example.org", "password": PASSWORD, "password_repeat": PASSWORD}
    assert ann.post("register", headers={"Sec-Fetch-Site": "cross-site"}, **fields).status_code == 403
    assert ann.post("register", **fields).location == "/account/confirm"


def test_a_link_logs_nobody_out(ann: Visitor) -> None:
    assert ann.page("logout").status_code == 200
    assert ann.get("/private").text == "hello ann"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "/a\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
    ],
)
def test_a_login_leads_to_no_other_site(ann: Visitor, target: str) -> None:
    ann.logout()
    page = ann.client.get("/account/login", query_string={"next": target})
    fields = {"csrf_token": ann.token(page), "identifier": "ann", "password": PASSWORD}
    asked = ann.client.post("/account/login", query_string={"next": target}, data=fields)
    assert asked.location == "/account/code"
    page = ann.client.get("/account/code", query_string={"next": target})
    fields = {"csrf_token": ann.token(page), "otp": ann.code}
    proved = ann.client.post("/account/code", query_string={"next": target}, data=fields)
    assert proved.location == "/account"
    assert ann.client.get("/account/login", query_string={"next": target}).location == "/account"


# --- sessions ---


@pytest.mark.parametrize("credentials", ["jwt", "session", ("jwt", "session")])
def test_pages_log_in_by_the_session_whatever_json_clients_get(open_site: Open, credentials: Any) -> None:
    ann = open_site(CREDENTIALS=credentials)
    ann.confirm()
    assert ann.get("/private").text == "hello ann"
    program = another(ann)
    asked = program.client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
    proof = {"challenge_id": asked.json["challenge_id"], "otp": program.code}
    done = program.client.post("/auth/verify-otp", json=proof)
    assert ("access_token" in done.json, program.cookie != "") == ("jwt" in credentials, "session" in credentials)


def test_a_json_logout_ends_the_pages_login(ann: Visitor) -> None:
    assert ann.client.post("/auth/logout").status_code == 204
    assert ann.get("/private").status_code == 302


def test_the_id_is_new_after_the_login_and_the_old_cookie_opens_nothing(ann: Visitor) -> None:
    ann.logout()
    ann.page("login")
    planted = ann.cookie
    ann.login()
    asked = ann.cookie
    ann.send("code", otp=ann.code)
    for old in (planted, asked):
        thief = another(ann)
        thief.client.set_cookie("session", old)
        assert thief.get("/private").status_code == 302


def test_the_cookie_of_a_login_that_is_over_opens_nothing(ann: Visitor) -> None:
    cookie = ann.cookie
    ann.logout()
    assert "You are logged out" in ann.page("login").text
    ann.client.set_cookie("session", cookie)
    assert ann.get("/private").location == "/account/login?next=/private"
    assert ann.page("").location == "/account/login?next=/account"


def test_a_logout_leaves_nothing_and_is_told(ann: Visitor) -> None:
    told: list[Any] = []

    def note(sender: object, event: Any, **_: object) -> None:
        told.append(event.name)

    with user_logged_out.connected_to(note, sender=ann.client.application):
        ann.logout()
    assert told == ["user_logged_out"]
    with ann.client.session_transaction() as session:
        assert "_otpauth" not in session


def test_another_login_in_the_same_browser_ends_the_first(ann: Visitor) -> None:
    another(ann).confirm("bob")
    first, token = ann.cookie, ann.token(ann.page(""))
    ann.post("login", csrf_token=token, identifier="bob", password=PASSWORD)
    ann.post("code", csrf_token=token, otp=ann.code)
    assert ann.get("/private").text == "hello bob"
    ann.client.set_cookie("session", first)
    assert ann.get("/private").status_code == 302


def test_a_second_logout_is_no_fault(ann: Visitor) -> None:
    token = ann.token(ann.page("logout"))
    assert ann.post("logout", csrf_token=token).location == "/account/login"
    assert ann.post("logout", csrf_token=token).location == "/account/login"
    assert ann.page("logout").location == "/account/login"


def test_the_account_page_shows_the_logins_and_ends_them(ann: Visitor) -> None:
    phone = another(ann)
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
    page = phone.page("login")
    phone.login()
    page = phone.page("code")
    phone.post("code", headers={"User-Agent": agent}, csrf_token=phone.token(page), otp=phone.code)
    page = ann.page("")
    assert "Safari · iPhone" in page.text
    found = re.search(r'name="session" value="([^"]+)"', page.text)
    assert found is not None
    assert ann.send("", session=found[1]).location == "/account"
    assert "has been ended" in ann.page("").text
    assert (phone.get("/private").status_code, ann.get("/private").status_code) == (302, 200)
    assert ann.send("", session=found[1]).status_code == 400


def test_all_others_are_ended_at_once(ann: Visitor) -> None:
    others = [another(ann) for _ in range(2)]
    for one in others:
        one.login()
        one.send("code", otp=one.code)
    assert [one.get("/private").status_code for one in others] == [200, 200]
    assert ann.send("", others="yes").location == "/account"
    assert [one.get("/private").status_code for one in (*others, ann)] == [302, 302, 200]


def test_nobody_ends_anothers_login(open_site: Open) -> None:
    ann = open_site()
    ann.confirm()
    bob = another(ann)
    bob.confirm("bob")
    bobs = ann.client.application.test_client()
    bobs.set_cookie("session", bob.cookie)
    mine = bobs.get("/auth/me").json["session"]["id"]
    assert ann.send("", session=mine).status_code == 400
    assert bob.get("/private").text == "hello bob"
    assert bob.send("", session=mine).location == "/account/login"  # one's own is a logout
    assert bob.get("/private").status_code == 302


def test_users_switch_their_second_factor_by_a_fresh_code(open_site: Open) -> None:
    ann = open_site(SECOND_FACTOR="opt-in")
    ann.confirm()
    ann.logout()
    assert ann.login().location == "/account"
    assert "Your password alone logs you in." in ann.page("").text
    assert ann.send("", mfa="on").location == "/account/step-up?next=/account"
    assert "then do it again" in ann.page("step-up?next=/account").text
    ann.send("step-up?next=/account")
    assert ann.send("code?next=/account", otp=ann.code).location == "/account"
    assert ann.send("", mfa="on").location == "/account"
    assert "Your login asks for your password, and then for a code." in ann.page("").text
    ann.logout()
    assert ann.login().location == "/account/code"
    ann.send("code", otp=ann.code)
    assert ann.send("", mfa="off").location == "/account"
    ann.logout()
    assert ann.login().location == "/account"


@pytest.mark.parametrize("policy", ["always", "never"])
def test_what_the_settings_decide_has_no_switch(open_site: Open, policy: str) -> None:
    ann = open_site(SECOND_FACTOR=policy)
    ann.confirm()
    assert 'name="mfa"' not in ann.page("").text
    assert ann.send("", mfa="off" if policy == "always" else "on").status_code == 400


@pytest.mark.parametrize("fields", [{}, {"session": "x", "others": "yes"}, {"other": "yes"}, {"mfa": "maybe"}])
def test_the_account_page_takes_its_own_form_only(ann: Visitor, fields: dict[str, str]) -> None:
    assert ann.send("", **fields).status_code == 400


# --- headers ---


def test_no_page_is_kept_and_each_has_a_strict_policy(ann: Visitor) -> None:
    pages = [ann.page(name) for name in ("", "step-up", "logout")]
    ann.logout()
    pages += [ann.page("login"), ann.page("register"), ann.page("code"), ann.login(), ann.page("code")]
    for page in pages:
        assert page.headers["Cache-Control"] == "no-store"
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Cookie" in page.vary


def test_a_policy_of_the_host_is_kept(open_site: Open) -> None:
    def set_up(app: Flask) -> None:
        @app.after_request
        def policy(response: Response) -> Response:
            response.headers["Content-Security-Policy"] = "default-src 'none'"
            return response

    assert open_site(set_up).page("login").headers.getlist("Content-Security-Policy") == ["default-src 'none'"]


def test_forms_may_lead_where_the_settings_say(open_site: Open) -> None:
    ann = open_site(AFTER_LOGIN="https://app.example.org/home", AFTER_LOGOUT="http://example.org:8080/")
    policy = ann.page("login").headers["Content-Security-Policy"]
    assert "form-action 'self' http://example.org:8080 https://app.example.org" in policy
    assert ann.confirm().location == "https://app.example.org/home"
    assert ann.logout().location == "http://example.org:8080/"


def test_files_come_from_the_app_itself(ann: Visitor) -> None:
    page = ann.page("").text
    files = re.findall(r'(?:src|href)="([^"]*/static/[^"]+)"', page)
    assert len(files) == 5
    for path in files:
        answer = ann.get(path)
        assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        answer.close()
    assert not re.search(r"https?://|<style|<script>|\son\w+=|style=", page)
    assert ann.get("/account/static/../pages.py").status_code == 404
    assert ann.get("/account/static/bootstrap/../../__init__.py").status_code == 404


# --- settings ---


def test_pages_are_off_unless_they_are_wanted(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    OTPAuth(app)
    app.add_url_rule("/private", "private", otp_required(lambda: "in"))
    with capture_messages(app):
        client = app.test_client()
        assert client.get("/account/login").status_code == 404
        refused = client.get("/private", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.mimetype) == (401, "application/problem+json")


def test_pages_can_be_moved_renamed_and_switched_off(open_site: Open) -> None:
    ann = open_site(PAGES_PREFIX="/my", ROUTES={"pages.login": "/enter", "pages.step-up": False, "pages.static": "/f"})
    ann.prefix = ""
    assert ann.get("/private").location == "/enter?next=/private"
    assert ann.page("my/register").status_code == 200
    assert ann.page("account/login").status_code == ann.page("my/step-up").status_code == 404
    assert "/f/pages.css" in ann.page("enter").text


def test_a_view_whose_page_is_off_answers_the_problem(open_site: Open) -> None:
    ann = open_site(ROUTES={"pages.login": False})
    assert ann.get("/private").status_code == 401


@pytest.mark.parametrize("target", ["/private?x=1", "private"])
def test_where_a_login_and_a_logout_lead(open_site: Open, target: str) -> None:
    ann = open_site(AFTER_LOGIN=target, AFTER_LOGOUT=target)
    assert ann.confirm().location == ("/private" if target == "private" else target)
    assert ann.logout().location.startswith("/private")


# --- the host's own ---


def test_the_app_overrides_templates_and_texts(open_site: Open) -> None:
    def set_up(app: Flask) -> None:
        folder = Path(app.root_path, "templates/otpauth/pages")
        folder.mkdir(parents=True)
        own = "{% block lang %}he{% endblock %}{% block content %}MINE{% endblock %}"
        (folder / "login.html").write_text('{% extends "otpauth/pages/layout.html" %}' + own)

    page = open_site(set_up).page("login")
    assert "MINE" in page.text
    assert '<html lang="he">' in page.text


def test_a_page_of_the_app_takes_the_layout_and_the_logout(open_site: Open) -> None:
    def set_up(app: Flask) -> None:
        blueprint = Blueprint("own", __name__)

        @blueprint.get("/own")
        def own() -> str:
            return render_template_string(
                '{% extends "otpauth/pages/layout.html" %}{% block title %}Own{% endblock %}'
                '{% block nav %}{% include "otpauth/pages/logout_button.html" %}{% endblock %}'
            )

        app.register_blueprint(blueprint)

    page = open_site(set_up).get("/own")
    assert "<title>Own · host</title>" in page.text
    assert 'action="/account/logout"' in page.text
    assert 'name="csrf_token"' in page.text


def test_a_host_with_bootstrap_of_its_own_keeps_it(make_app: Callable[..., Flask]) -> None:
    from flask_bootstrap import Bootstrap5

    app = make_app(OTPAUTH_PAGES=True)
    mine = Bootstrap5(app)
    before = dict(app.config)
    OTPAuth(app)
    assert app.extensions["bootstrap"] is mine
    assert {key: value for key, value in app.config.items() if key.startswith("BOOTSTRAP")} == {
        key: value for key, value in before.items() if key.startswith("BOOTSTRAP")
    }
    with capture_messages(app):
        assert "bootstrap.min.css" in app.test_client().get("/account/login").text


def test_a_host_that_guards_all_forms_can_have_the_pages(open_site: Open) -> None:
    from flask_wtf import CSRFProtect

    ann = open_site(CSRFProtect)
    assert ann.confirm().location == "/account"


def test_views_of_the_host_get_no_policy_of_ours(ann: Visitor) -> None:
    assert "Content-Security-Policy" not in ann.get("/private").headers


def test_texts_can_be_put_into_other_words(open_site: Open) -> None:
    def set_up(app: Flask) -> None:
        folder = Path(app.root_path, "templates/otpauth/pages")
        folder.mkdir(parents=True)
        ours = Path(flask_otpauth.__file__).parent / "templates/otpauth/pages/texts.html"
        text = ours.read_text(encoding="utf-8").replace("You are logged out.", "Good-bye.")
        (folder / "texts.html").write_text(text.replace('"Password"', '"Pass phrase"'))

    ann = open_site(set_up)
    ann.confirm()
    ann.logout()
    page = ann.page("login").text
    assert "Good-bye." in page
    assert "Pass phrase</label>" in page


def test_extra_fields_come_to_the_hook(make_app: Callable[..., Flask]) -> None:
    app = make_app(OTPAUTH_PAGES=True, OTPAUTH_EXTRA_FIELDS=("captcha",))
    auth = OTPAuth(app)
    auth.before_send(lambda request: request.extra.get("captcha") == "solved")
    with capture_messages(app) as messages:
        ann = Visitor(app, messages)
        refused = ann.register()
        assert (refused.status_code, messages) == (403, [])
        assert ann.register(captcha="solved").location == "/account/confirm"


def test_each_refusal_leaves_a_line_in_the_log(ann: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flask_otpauth")
    ann.logout()
    ann.get("/private")
    ann.page("")
    ann.send("login", identifier="ann", password="something else")
    ann.post("login")
    lines = [record.message for record in caplog.records if " refused: " in record.message]
    assert [line.split(": ")[:2] for line in lines] == [
        ["private refused", "authentication_required"],
        ["otpauth_pages.account refused", "authentication_required"],
        ["otpauth_pages.login refused", "invalid_credentials"],
        ["otpauth_pages.login refused", "malformed_request"],
    ]


@pytest.mark.parametrize("mark", ["", "x", "s.x c.y", 7, ["s"], "c." + "A" * 43, "s." + "B" * 43 + " c." + "A" * 43])
def test_a_mark_that_is_none_of_ours_breaks_no_page(ann: Visitor, mark: Any) -> None:
    stranger = another(ann)
    for name in FORMS:
        with stranger.client.session_transaction() as session:
            session["_otpauth"] = mark
            session["csrf_token"] = 7
        assert stranger.page(name).status_code in {200, 303}
        assert stranger.post(name, csrf_token="x").status_code in {303, 400}


def test_no_part_of_bootstrap_is_used_that_draws_a_data_image() -> None:
    # A browser that has read Bootstrap's style sheet and not ours yet would ask for it, and the policy refuse it.
    bootstrap = Path(flask_bootstrap.__file__).parent / "static/bootstrap5/css/bootstrap.min.css"
    rules = re.findall(r"([^{}]*)\{[^{}]*:url\(.?data:", bootstrap.read_text(encoding="utf-8"))
    drawn = {name for rule in rules for name in re.findall(r"\.([a-z-]+)", rule)} - {"form-control", "was-validated"}
    assert {"is-invalid", "form-select", "btn-close"} <= drawn
    templates = Path(flask_otpauth.__file__).parent / "templates/otpauth/pages"
    for template in templates.glob("*.html"):
        used = set(re.findall(r"[a-z][a-z-]+", " ".join(re.findall(r'class="([^"]*)"', template.read_text()))))
        assert not used & drawn, template.name


def test_a_bad_token_beside_the_cookie_keeps_nobody_logged_in(open_site: Open) -> None:
    ann = open_site(lambda app: app.config.update(JWT_TOKEN_LOCATION=["headers", "cookies"]))
    ann.confirm()
    token = ann.token(ann.page("logout"))
    cookie = ann.cookie
    ann.client.set_cookie("access_token_cookie", "x")
    assert ann.post("logout", csrf_token=token).status_code == 303
    ann.client.delete_cookie("access_token_cookie")
    assert ann.get("/private").status_code == 302
    ann.client.set_cookie("session", cookie)
    assert ann.get("/private").status_code == 302


def test_the_token_of_forms_is_new_after_a_login(ann: Visitor) -> None:
    ann.logout()
    old = ann.token(ann.page("login"))
    assert ann.post("login", csrf_token=old, identifier="ann", password=PASSWORD).status_code == 303
    ann.send("code", otp=ann.code)
    assert ann.post("logout", csrf_token=old).status_code == 400
    assert ann.send("logout").status_code == 303
