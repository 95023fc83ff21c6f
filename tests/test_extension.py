"""``OTPAuth`` on apps of every kind: factories, models and extensions of their own, and faults told at the start."""

from __future__ import annotations

import gc
import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, login_required
from flask_login import UserMixin as LoginMixin
from flask_login import current_user as login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_otpauth import ConfigurationError, OTPAuth, UserMixin, auth_required, current_user, otp_required
from flask_otpauth.delivery import ConsoleSender, Inbox
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Message

PASSWORD = "correct horse battery"
PRODUCTION: dict[str, Any] = {"TESTING": False, "OTPAUTH_BCRYPT_ROUNDS": 12, "OTPAUTH_PHONE_REGION": "IL"}
MakeApp = Callable[..., Flask]


class Base(DeclarativeBase):
    """Base of the hosts' models."""


def new_base() -> type[DeclarativeBase]:
    return type("Base", (DeclarativeBase,), {})


def enter(app: Flask, name: str = "ann", phone: str = "+972508464336", client: Any = None) -> dict[str, Any]:
    """Register and prove; give the answer with the tokens."""
    client = client or app.test_client()
    with capture_messages(app) as messages:
        asked = client.post("/auth/register", json={"username": name, "password": PASSWORD, "phone": phone})
        assert asked.status_code == 202, asked.json
        done = client.post(
            "/auth/verify-otp", json={"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}
        )
    assert done.status_code == 200, done.json
    body: dict[str, Any] = done.json
    return body


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


# --- faults of the configuration --------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(make_app: MakeApp) -> None:
    app = make_app(OTPAUTH_MAX_ATTEMPTS=99, OTPAUTH_CODE_LIFETYME=5, SECRET_KEY="", OTPAUTH_ROUTES={"logn": "/x"})
    with pytest.raises(ConfigurationError) as caught:
        OTPAuth(app)
    told = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    for part in (
        "OTPAUTH_MAX_ATTEMPTS",
        "a chance of 7.3e-04 a year",
        "did you mean OTPAUTH_CODE_LIFETIME",
        "SECRET_KEY is missing",
        "'login'",
    ):
        assert part in told


def test_mistakes_of_every_kind_are_told_together(make_app: MakeApp) -> None:
    app = make_app(
        OTPAUTH_MAX_ATTEMPTS=99,
        OTPAUTH_PHONE_REGION="ZZ",
        OTPAUTH_SMS_COUNTRIES=("YY",),
        OTPAUTH_USER_FIELDS={"phon": "mobile"},
        OTPAUTH_FIELD_NAMES={"emial": "mail"},
        OTPAUTH_EXTRA_FIELDS=("password",),
        RATELIMIT_STRATEGY="slow",
    )
    with pytest.raises(ConfigurationError) as caught:
        OTPAuth(app, sms=5, email="mail", clock=datetime.now)  # type: ignore[arg-type]
    told = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 10
    for part in ("MAX_ATTEMPTS", "PHONE_REGION", "SMS_COUNTRIES", "'phone'", "'email'", "'password'", "STRATEGY"):
        assert part in told
    for part in ("Channel 'sms': 5 is no sender", "Channel 'email': 'mail' is no sender", "gave a naive datetime"):
        assert part in told


def test_what_the_model_lacks_is_told_with_the_other_mistakes(make_app: MakeApp) -> None:
    app = make_app(
        OTPAUTH_MAX_ATTEMPTS=99,
        OTPAUTH_REGISTER_FIELDS=("username", "password", "email", "nickname"),
        SQLALCHEMY_DATABASE_URI="sqlite://",
    )
    db = SQLAlchemy(app, model_class=new_base())

    class Member(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(ConfigurationError) as caught:
        OTPAuth(app, db=db, user_model=Member)
    assert len(caught.value.faults) == 2
    assert "'nickname'" in caught.value.faults[1]


def test_an_app_that_was_refused_is_as_it_was(make_app: MakeApp) -> None:
    app = make_app(OTPAUTH_FIELD_NAMES={"emial": "mail"})
    with pytest.raises(ConfigurationError, match="did you mean 'email'"):
        OTPAuth(app)
    assert "sqlalchemy" not in app.extensions
    app.config["OTPAUTH_FIELD_NAMES"] = {"email": "mail"}
    OTPAuth(app)
    assert enter(app)["user"]["username"] == "ann"


class Half:
    """Lacks most of what a store of users has."""

    def by_id(self, user_id: str) -> None: ...


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"users": Half()}, "lacks by_identifier, add, update, remove"),
        ({"users": Half}, "users= is the class Half; pass an object of it"),
        ({"clock": lambda: 5}, "clock= gave 5; give a function"),
        ({"clock": lambda zone: zone}, "clock= raised TypeError; give a function"),
        ({"clock": datetime.now}, r"clock= gave a naive datetime; .* lambda: datetime.now\(UTC\)"),
        ({"sms": Half()}, "Channel 'sms': <.*Half object.*> is no sender: give a function"),
        ({"user_model": Half}, "give a model class"),
    ],
)
def test_a_wrong_argument_is_told_with_its_cure(make_app: MakeApp, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        OTPAuth(make_app(), **given)


def test_registration_sets_no_role_in_a_store_of_users(make_app: MakeApp) -> None:
    app = make_app(
        OTPAUTH_USER_FIELDS={"role": "kind"}, OTPAUTH_REGISTER_FIELDS=("username", "email", "password", "kind", "id")
    )

    class Store(Half):
        by_identifier = add = update = remove = Half.by_id

    with pytest.raises(ConfigurationError) as caught:
        OTPAuth(app, users=Store())  # type: ignore[arg-type]
    assert [fault.split("'")[1] for fault in caught.value.faults] == ["kind", "id"]


def test_a_weak_secret_is_told_with_the_way_to_development(make_app: MakeApp) -> None:
    app = make_app(TESTING=False, SECRET_KEY="dev", OTPAUTH_BCRYPT_ROUNDS=12, OTPAUTH_PHONE_REGION="IL")
    with pytest.raises(ConfigurationError, match="flask run --debug"):
        OTPAuth(app)


def test_a_production_app_without_senders_is_refused_before_its_first_request(make_app: MakeApp) -> None:
    app = make_app(TESTING=False, OTPAUTH_BCRYPT_ROUNDS=12, OTPAUTH_PHONE_REGION="IL", PROPAGATE_EXCEPTIONS=True)
    auth = OTPAuth(app)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"auth\.sms_sender"):
            app.test_client().get("/auth/health")
    auth.sms_sender(lambda message: None)
    assert app.test_client().get("/auth/health").status_code == 200


def test_a_channel_without_a_sender_is_told(make_app: MakeApp) -> None:
    app = make_app(
        TESTING=False,
        OTPAUTH_BCRYPT_ROUNDS=12,
        OTPAUTH_PHONE_REGION="IL",
        PROPAGATE_EXCEPTIONS=True,
        OTPAUTH_CHANNELS=("sms", "voice"),
    )
    OTPAuth(app, sms=lambda message: None)
    with pytest.raises(ConfigurationError, match="voice"):
        app.test_client().get("/auth/health")


@pytest.mark.parametrize("sender", [ConsoleSender(), ConsoleSender, Inbox()])
def test_a_console_sender_stops_a_production_start(make_app: MakeApp, sender: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"channel sms go to the console.*OTPAUTH_DEMO"):
        OTPAuth(make_app(**PRODUCTION), sms=sender, email=lambda message: None)


def test_a_console_that_stands_behind_another_sender_stops_a_production_start(make_app: MakeApp) -> None:
    auth = OTPAuth(sms=lambda message: None)
    auth.sender("sms", fallback=True)(ConsoleSender())
    auth.sender("voice")(ConsoleSender())
    with pytest.raises(ConfigurationError) as caught:
        auth.init_app(make_app(**PRODUCTION))
    assert [fault.partition(" go ")[0] for fault in caught.value.faults] == ["Codes of channel sms, voice"]


def test_a_console_sender_registered_later_is_refused_before_the_first_request(make_app: MakeApp) -> None:
    app = make_app(**PRODUCTION, PROPAGATE_EXCEPTIONS=True)
    auth = OTPAuth(app, sms=lambda message: None)
    auth.sender("sms", fallback=True)(ConsoleSender())
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="channel sms go to the console"):
            app.test_client().get("/auth/health")
    auth.sms_sender(lambda message: None)
    assert app.test_client().get("/auth/health").status_code == 200


@pytest.mark.parametrize("config", [{"OTPAUTH_DEMO": True}, {"DEBUG": True}, {"TESTING": True}])
def test_a_console_sender_is_let_in_where_nobody_has_an_account(make_app: MakeApp, config: dict[str, Any]) -> None:
    app = make_app(**{**PRODUCTION, **config})
    OTPAuth(app, sms=ConsoleSender()).email_sender(ConsoleSender())
    assert app.test_client().get("/auth/health").status_code == 200


def test_a_budget_that_is_counted_as_a_smaller_one_is_told(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flask_otpauth"):
        OTPAuth(make_app(OTPAUTH_SEND_LIMITS="500 per day"))
    (told,) = [one.getMessage() for one in caplog.records if "OTPAUTH_SEND_LIMITS" in one.getMessage()]
    assert "counted as 100" in told


@pytest.mark.parametrize("late", ["jwt", "limiter"])
def test_an_extension_put_on_later_is_told(make_app: MakeApp, late: str) -> None:
    app = make_app()
    OTPAuth(app)
    if late == "jwt":
        JWTManager(app)
    else:
        Limiter(get_remote_address, app=app, storage_uri="memory://")
    with pytest.raises(ConfigurationError, match="after OTPAuth"):
        app.test_client().get("/auth/health")


def test_a_second_one_on_an_app_is_refused(make_app: MakeApp) -> None:
    app = make_app()
    OTPAuth(app)
    with pytest.raises(ConfigurationError, match="already"):
        OTPAuth(app)


def test_arguments_that_do_not_fit_are_told(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="init_app"):
        OTPAuth(make_app(), db=SQLAlchemy())
    with pytest.raises(ConfigurationError, match="user_model="):
        OTPAuth(make_app(), user_model=Base)
    with pytest.raises(ConfigurationError, match="users= and user_model="):
        OTPAuth(make_app(), db=SQLAlchemy(), user_model=Base, users=object())  # type: ignore[arg-type]


def test_profile_fields_are_for_the_built_in_model(make_app: MakeApp) -> None:
    app = make_app(OTPAUTH_PROFILE_FIELDS="name", SQLALCHEMY_DATABASE_URI="sqlite://")
    db = SQLAlchemy(app, model_class=new_base())

    class Member(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(ConfigurationError, match="add the columns to yours"):
        OTPAuth(app, db=db, user_model=Member)


def test_the_first_request_skips_no_function_of_the_host(make_app: MakeApp) -> None:
    app, ran = make_app(), list[str]()
    OTPAuth(app)
    app.before_request(lambda: ran.append("one"))
    app.before_request(lambda: ran.append("two"))
    app.test_client().get("/auth/health")
    assert ran == ["one", "two"]
    assert len(app.before_request_funcs[None]) == 2


def test_an_app_without_hooks_gets_none(make_app: MakeApp) -> None:
    app = make_app()
    OTPAuth(app)
    app.test_client().get("/auth/health")
    assert not app.before_request_funcs.get(None)
    assert not app.after_request_funcs.get(None)


# --- apps of every kind -----------------------------------------------------------------------------------------------


def test_factories_and_several_apps_share_nothing(make_app: MakeApp) -> None:
    auth = OTPAuth()
    sent: list[str] = []

    @auth.sms_sender
    def send(message: Any) -> None:
        sent.append(message.to)

    one, other = make_app(), make_app()
    auth.init_app(one)
    auth.init_app(other)
    tokens = enter(one)
    assert one.test_client().get("/auth/me", headers=bearer(tokens)).status_code == 200
    assert other.test_client().get("/auth/me", headers=bearer(tokens)).status_code == 401
    assert one.extensions["otpauth"] is not other.extensions["otpauth"]
    one.test_client().post("/auth/register", json={"username": "bob", "password": PASSWORD, "phone": "+972508464337"})
    assert sent == ["+972508464337"]


def test_a_sender_registered_later_serves_apps_set_up_before(make_app: MakeApp) -> None:
    app = make_app()
    auth, sent = OTPAuth(app), list[Any]()

    @auth.sender("sms", fallback=True)
    def broken(message: Any) -> None:
        raise OSError("down")

    @auth.sender("sms", fallback=True)
    class Second:
        def send(self, message: Any) -> None:
            sent.append(message)

    app.test_client().post("/auth/register", json={"username": "bob", "password": PASSWORD, "phone": "+972508464337"})
    assert [one.to for one in sent] == ["+972508464337"]


def test_a_list_of_senders_is_a_fallback_chain(make_app: MakeApp) -> None:
    sent: list[str] = []

    def broken(message: Message) -> None:
        sent.append(f"broken {message.to}")
        raise OSError("down")

    class Second:
        def send(self, message: Message) -> None:
            sent.append(message.to)

    def register(app: Flask) -> list[str]:
        sent.clear()
        body = {"username": "bob", "password": PASSWORD, "email": "bob@example.org"}
        assert app.test_client().post("/auth/register", json=body).status_code == 202
        return list(sent)

    tried = ["broken bob@example.org", "bob@example.org"]
    for given in ([broken, Second()], (broken, Second())):
        app = make_app()
        OTPAuth(app, email=given)
        assert register(app) == tried
    for way in (OTPAuth.email_sender, lambda auth, chain: auth.sender("email")(chain)):
        app = make_app()
        auth = OTPAuth(app)
        way(auth, [broken, Second()])
        assert register(app) == tried


def test_an_empty_list_of_senders_is_told(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="Channel 'sms': an empty list sends nothing"):
        OTPAuth(make_app(), sms=[])
    with pytest.raises(ValueError, match="an empty list"):
        OTPAuth(make_app()).sms_sender([])


def test_a_model_of_other_names_and_a_uuid_key(make_app: MakeApp, tmp_path: Any) -> None:
    db = SQLAlchemy(model_class=new_base())

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "customers"
        uid: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        login: Mapped[str] = mapped_column(sa.String(80), unique=True)
        cell: Mapped[str | None] = mapped_column(sa.String(20), unique=True)
        pw: Mapped[str] = mapped_column(sa.String(255))

    app = make_app(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/host.sqlite3",
        OTPAUTH_USER_FIELDS={"username": "login", "phone": "cell", "password_hash": "pw"},
    )
    db.init_app(app)
    OTPAuth(app, db=db, user_model=Customer)

    @app.get("/private")
    @otp_required
    def private() -> str:
        return str(current_user.login)

    with app.app_context():
        db.create_all()
    tokens = enter(app)
    uuid.UUID(tokens["user"]["id"])
    client = app.test_client()
    assert client.get("/private", headers=bearer(tokens)).text == "ann"
    with app.app_context():
        user = db.session.execute(sa.select(Customer)).scalar_one()
        assert user.pw.startswith("otpauth$") or "$2b$" in user.pw
        db.session.delete(user)
        db.session.commit()
        db.engine.dispose()
    assert client.get("/private", headers=bearer(tokens)).status_code == 401


def test_an_app_in_memory(make_app: MakeApp) -> None:
    db = SQLAlchemy()
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    db.init_app(app)
    OTPAuth(app, db=db)
    with app.app_context():
        db.create_all()
    assert app.test_client().get("/auth/me", headers=bearer(enter(app))).status_code == 200
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("name", "file"), [("shop", "otpauth-shop.sqlite3"), ("a/b?c=../d", "otpauth-a_b_c_.._d.sqlite3")]
)
def test_our_own_database_is_named_by_the_app(tmp_path: Path, name: str, file: str) -> None:
    app = Flask(name, instance_path=str(tmp_path / "instance"), root_path=str(tmp_path))
    app.config.update(TESTING=True, SECRET_KEY="a key of the tests, long enough: 0123456789", OTPAUTH_BCRYPT_ROUNDS=4)
    OTPAuth(app)
    enter(app)
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
    assert [one.name for one in (tmp_path / "instance").glob("*.sqlite3")] == [file]


def test_our_own_database_in_memory(make_app: MakeApp) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    OTPAuth(app)
    assert app.test_client().get("/auth/me", headers=bearer(enter(app))).status_code == 200
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


def test_users_of_another_kind_of_store(make_app: MakeApp) -> None:
    from flask_otpauth import IdentifierTaken

    class Person:
        def __init__(self, key: str, fields: dict[str, Any]) -> None:
            self.id = key
            self.__dict__.update(fields)

    class People:
        def __init__(self) -> None:
            self.rows: dict[str, Person] = {}

        def by_id(self, user_id: str) -> object | None:
            return self.rows.get(user_id)

        def by_identifier(self, kind: str, value: str) -> object | None:
            return next((one for one in self.rows.values() if getattr(one, kind, None) == value), None)

        def add(self, fields: Any) -> object:
            if self.by_identifier("username", fields["username"]):
                raise IdentifierTaken("username")
            key = f"p{len(self.rows)}"
            self.rows[key] = Person(key, dict(fields))
            return self.rows[key]

        def update(self, user_id: str, changes: Any) -> None:
            self.rows[user_id].__dict__.update(changes)

        def remove(self, user_id: str) -> None:
            del self.rows[user_id]

    app, people = make_app(), People()
    OTPAuth(app, users=people)
    tokens = enter(app)
    assert tokens["user"]["id"] == "p0"
    client = app.test_client()
    assert client.get("/auth/me", headers=bearer(tokens)).status_code == 200
    people.remove("p0")
    assert client.get("/auth/me", headers=bearer(tokens)).status_code == 401


def test_views_of_every_kind(make_app: MakeApp) -> None:
    app = make_app()
    auth = OTPAuth(app)
    area = Blueprint("area", __name__)

    @area.get("/area")
    def inside() -> str:
        return "area"

    @app.get("/async")
    @auth_required()
    async def later() -> str:
        return "async"

    class Thing(MethodView):
        decorators = (otp_required,)

        def get(self) -> str:
            return "thing"

    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    auth.protect(area)
    app.register_blueprint(area)
    tokens, client = enter(app), app.test_client()
    client.delete_cookie("otpauth_client")
    for path in ("/area", "/async", "/thing"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(tokens)).status_code == 200


def test_a_disabled_user_is_refused_at_the_next_request(make_app: MakeApp) -> None:
    app = make_app()
    OTPAuth(app)
    tokens, client = enter(app), app.test_client()
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        user = app.extensions["otpauth"].users.load(tokens["user"]["id"])
        user.active = False
        db.session.commit()
        db.engine.dispose()
    assert client.get("/auth/me", headers=bearer(tokens)).status_code == 401
    assert (
        client.post("/auth/refresh", headers={"Authorization": f"Bearer {tokens['refresh_token']}"}).status_code == 401
    )
    assert client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 401


# --- extensions of the host -------------------------------------------------------------------------------------------


def host_with_extensions(app: Flask) -> tuple[Flask, JWTManager, Limiter]:
    jwt = JWTManager(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")

    @jwt.unauthorized_loader
    def missing(reason: str) -> Any:
        return jsonify(mine=reason), 418

    @app.get("/host/token")
    def token() -> str:
        return create_access_token("host-user")

    @app.get("/host/private")
    @jwt_required()
    def private() -> Any:
        return jsonify(me=get_jwt_identity())

    @app.get("/host/limited")
    @limiter.limit("2 per hour")
    def limited() -> str:
        return "ok"

    manager = LoginManager(app)

    class Guest(LoginMixin):
        id = "guest"

    @manager.user_loader
    def load(user_id: str) -> Any:
        return Guest() if user_id == "guest" else None

    @app.get("/host/login")
    def login() -> str:
        from flask_login import login_user as enter_host

        enter_host(Guest())
        return "in"

    @app.get("/host/mine")
    @login_required
    def mine() -> str:
        return str(getattr(login_user, "id", ""))

    return app, jwt, limiter


def calls(app: Flask) -> list[tuple[int, str]]:
    client, other = app.test_client(), app.test_client()
    token = client.get("/host/token").text
    made = [
        client.get("/host/private"),
        client.get("/host/private", headers={"Authorization": f"Bearer {token}"}),
        client.get("/host/private", headers={"Authorization": "Bearer x.y.z"}),
        *(client.get("/host/limited") for _ in range(3)),
        other.get("/host/mine"),
        other.get("/host/login"),
        other.get("/host/mine"),
        client.get("/nowhere"),
    ]
    return [(one.status_code, one.text) for one in made]


def test_extensions_of_the_host_behave_as_without_ours(make_app: MakeApp) -> None:
    bare, _, _ = host_with_extensions(make_app())
    ours, jwt, limiter = host_with_extensions(make_app())
    before = {name: value for name, value in ours.config.items() if name.startswith(("JWT_", "RATELIMIT"))}
    OTPAuth(ours)
    assert calls(ours) == calls(bare)
    assert ours.extensions["flask-jwt-extended"] is jwt
    assert ours.extensions["limiter"] == {limiter}
    assert {name: ours.config[name] for name in before} == before


def test_a_hosts_plain_jwt_required_takes_our_tokens(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app, jwt, _ = host_with_extensions(make_app())
    auth = OTPAuth(app)
    with caplog.at_level(logging.WARNING, "flask_otpauth"):
        tokens, client = enter(app), app.test_client()
    assert "auth.token_revoked" in caplog.text
    assert client.get("/host/private", headers=bearer(tokens)).json == {"me": tokens["user"]["id"]}
    jwt.token_in_blocklist_loader(auth.token_revoked)
    client.post("/auth/logout", headers=bearer(tokens))
    assert client.get("/host/private", headers=bearer(tokens)).status_code == 401


def test_flask_login_sees_the_same_user(make_app: MakeApp) -> None:
    app, _, _ = host_with_extensions(make_app())
    OTPAuth(app)

    @app.get("/host/who")
    def who() -> str:
        return str(getattr(login_user, "username", "nobody"))

    tokens = enter(app)
    assert app.test_client().get("/host/who", headers=bearer(tokens)).text == "ann"
    assert app.test_client().get("/host/who").text == "nobody"


def test_a_hosts_sqlalchemy_is_found_and_kept(make_app: MakeApp, tmp_path: Any) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/host.sqlite3")
    db = SQLAlchemy(app)
    OTPAuth(app)
    with app.app_context():
        assert not sa.inspect(db.engine).get_table_names()
        assert app.test_client().get("/auth/health").status_code in {200, 503}
        assert not sa.inspect(db.engine).get_table_names()
        db.create_all()
        assert "otpauth_challenge" in sa.inspect(db.engine).get_table_names()
        db.engine.dispose()
    assert app.extensions["sqlalchemy"] is db
    enter(app)


def test_a_view_that_has_flushed_a_write_may_ask_who_is_there(make_app: MakeApp, clock: Any, tmp_path: Any) -> None:
    app = make_app(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/host.sqlite3",
        OTPAUTH_CREDENTIALS=("session",),
        OTPAUTH_SESSION_IDLE=100,
    )
    db = SQLAlchemy(app, model_class=new_base())

    class Note(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    OTPAuth(app, clock=clock)

    @app.post("/notes")
    def note() -> dict[str, Any]:
        db.session.add(Note())
        db.session.flush()
        name = current_user.username
        db.session.commit()
        return {"by": name}

    client = app.test_client()
    with app.app_context():
        db.create_all()
    enter(app, client=client)
    clock.advance(50)  # the idle end is due to be moved, which SQLite can't do beside that write
    assert client.post("/notes").json == {"by": "ann"}


def test_two_requests_in_one_pushed_context_never_share_a_user(make_app: MakeApp) -> None:
    app = make_app()
    OTPAuth(app)

    @app.get("/private")
    @otp_required
    def private() -> str:
        return str(current_user.username)

    ann, bob = enter(app), enter(app, "bob", "+972508464337")
    # As pytest-flask does: one context for the whole test.
    with app.test_request_context():
        client = app.test_client()
        assert client.get("/private", headers=bearer(ann)).text == "ann"
        assert client.get("/private", headers=bearer(bob)).text == "bob"
        assert client.get("/private").status_code == 401


def test_an_app_that_is_gone_leaves_no_connection() -> None:
    app = Flask("short-lived")
    app.config.update(TESTING=True, SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    OTPAuth(app)
    app.test_client().get("/auth/health")
    del app
    gc.collect()
