"""
Views for the app's Flask-Admin: users, live sessions, events. For users with a role; never a code.

    add_views(admin, roles={"admin"})
"""

# pyright: reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false, reportUnknownMemberType=false
# pyright: reportIncompatibleVariableOverride=false
# Flask-Admin has no stubs, and what it says of its methods is narrower than what it takes.

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

from flask import Flask, Response, current_app, flash, redirect
from flask_admin import Admin, AdminIndexView, expose
from flask_admin.form import SecureForm
from flask_admin.helpers import get_redirect_target
from flask_admin.model import BaseModelView
from flask_admin.model.template import BaseListRowAction
from markupsafe import Markup
from typing_extensions import override

from .api import current_caller
from .crypto import base64url
from .decorators import auth_required, current_session
from .flows.administration import Administration
from .flows.service import Service
from .types import Account, Event, Instant, SessionRecord, moment, public_methods

__all__ = ["RoleRequired", "add_views", "guarded_index"]

LAST_PAGE = 10_000
"""Pages further on are answered by this one: no number that a client sends is beyond a database."""


def add_views(admin: Admin, *, roles: Collection[str] = ("admin",), category: str | None = "Accounts") -> None:
    """
    Put the views of users, live sessions and events into the app's Flask-Admin; after ``OTPAuth(app)``.

    Whoever has one of the ``roles`` sees them, as ``@auth_required(roles=...)`` lets him; to anybody else they aren't
    there, in the menu neither. Nothing can be changed but one thing: a session can be ended. Users that live in a
    ``UserStore`` aren't listed.

    Raises:
        TypeError: ``roles`` is no collection of names.
        RuntimeError: The app of this Flask-Admin has no ``OTPAuth``.
    """
    app: Flask | None = admin.app
    if app is None or "otpauth" not in app.extensions:
        raise RuntimeError(
            "add_views needs an Admin that is on an app with OTPAuth: OTPAuth(app), Admin(app), then it."
        )
    if cast("Service", app.extensions["otpauth"]).administration.lists_users:
        admin.add_view(_Users(roles, category))
    admin.add_view(_Sessions(roles, category))
    admin.add_view(_Events(roles, category))


class RoleRequired:
    """
    Lets users with a role into a view of Flask-Admin; for the app's own views, named before the view's class.

    ``class Orders(RoleRequired, ModelView): roles = {"admin"}``. A refusal is answered as by ``@auth_required``.
    """

    roles: Collection[str] = ("admin",)

    def is_accessible(self) -> bool:
        """Tell whether the menu shows the view to who is asking."""
        return self._refusal() is None

    def _handle_view(self, name: str, **kwargs: Any) -> Response | None:  # noqa: ARG002 - called so by Flask-Admin
        return self._refusal()

    def _refusal(self) -> Response | None:
        refusal: Response | None = auth_required(roles=self.roles)(_nothing)()
        return refusal


def guarded_index(roles: Collection[str] = ("admin",), **options: Any) -> Any:
    """
    Give the first page of a Flask-Admin, for users with a role: ``Admin(app, index_view=guarded_index())``.

    ``options`` are those of Flask-Admin's ``AdminIndexView``.
    """
    index = _GuardedIndex(**options)
    index.roles = roles
    return index


class _GuardedIndex(RoleRequired, AdminIndexView):  # type: ignore[misc] # has no types
    pass


# --- rows: all that a page can show -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _User:
    id: str
    username: str | None
    email: str | None
    email_verified: bool
    phone: str | None
    phone_verified: bool
    roles: str
    active: bool
    mfa_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    id: str
    user_id: str
    user: str
    methods: str
    client: str
    since: str
    used: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    at: str
    name: str
    user_id: str | None
    user: str
    channel: str | None
    purpose: str | None
    address: str | None
    details: str


def _user(account: Account) -> _User:
    given: dict[str, Any] = {one.name: getattr(account, one.name) for one in fields(_User)}
    given["roles"] = ", ".join(sorted(account.roles))
    return _User(**given)


def _session(record: SessionRecord, names: Mapping[str, str]) -> _Session:
    return _Session(
        id=base64url(record.id),
        user_id=record.user_id,
        user=names.get(record.user_id, ""),
        methods=" ".join(public_methods(record.amr)),
        client=record.client,
        since=_time(record.created_at),
        used=_time(record.last_used_at),
        until=_time(min(record.idle_at, record.expires_at)),
    )


def _event(event: Event, names: Mapping[str, str]) -> _Event:
    return _Event(
        at=_time(event.at),
        name=event.name,
        user_id=event.user_id,
        user=names.get(event.user_id or "", ""),
        channel=event.channel,
        purpose=event.purpose,
        address=event.address,
        details=" ".join(f"{name}={value}" for name, value in event.details.items() if value is not None),
    )


def _time(at: Instant) -> str:
    return f"{moment(at):%Y-%m-%d %H:%M:%S} UTC"


# --- views --------------------------------------------------------------------------------------------------------


class _Listed(RoleRequired, BaseModelView):  # type: ignore[misc] # has no types
    """A list to look at and to search; what a row's class lacks can't be shown, sorted or searched by."""

    can_create = False
    can_edit = False
    can_delete = False
    column_display_actions = False
    simple_list_pager = True
    column_labels: ClassVar[dict[str, str]] = {
        "id": "Key",
        "user_id": "User's key",
        "email": "E-mail",
        "email_verified": "Proved",
        "phone_verified": "Proved",
        "mfa_enabled": "MFA",
        "at": "When",
        "name": "What",
        "used": "Last used",
        "address": "From",
    }
    form_base_class = SecureForm

    row: ClassVar[type[Any]]
    title: ClassVar[str]
    asked_for: ClassVar[str]

    def __init__(self, roles: Collection[str], category: str | None) -> None:
        auth_required(roles=roles)  # a mistake in them is told now
        self.roles = roles
        super().__init__(self.row, self.title, category, endpoint=f"otpauth_{self.title.lower()}")

    def page(self, administration: Administration, search: str, offset: int, limit: int) -> list[Any]:
        raise NotImplementedError

    @override
    def get_list(
        self,
        page: int | None,
        sort_field: object,
        sort_desc: object,
        search: str | None,
        filters: object,
        page_size: int | None = None,
    ) -> tuple[None, list[Any]]:
        limit = page_size or self.page_size
        offset = min(max(page or 0, 0), LAST_PAGE) * limit
        return None, self.page(_administration(), search or "", offset, limit)

    @override
    def scaffold_list_columns(self) -> list[str]:
        return [one.name for one in fields(self.row)]

    @override
    def scaffold_sortable_columns(self) -> dict[str, str]:
        return {}

    @override
    def scaffold_form(self) -> Any:
        return SecureForm

    @override
    def init_search(self) -> bool:
        return True

    @override
    def search_placeholder(self) -> str:
        return self.asked_for

    @override
    def get_pk_value(self, model: Any) -> str:
        return str(getattr(model, "id", ""))

    @override
    def get_one(self, id: str) -> Any:
        return None


class _Users(_Listed):
    row, title = _User, "Users"
    asked_for = "beginning of name, e-mail or phone; or id"

    @override
    def page(self, administration: Administration, search: str, offset: int, limit: int) -> list[_User]:
        return [_user(one) for one in administration.users(search, offset=offset, limit=limit)]


class _Sessions(_Listed):
    row, title = _Session, "Sessions"
    asked_for = "name, e-mail, phone or id of a user"
    can_delete = True
    column_display_actions = True
    column_exclude_list = ("id",)

    @override
    def page(self, administration: Administration, search: str, offset: int, limit: int) -> list[_Session]:
        found = administration.sessions(search, offset=offset, limit=limit)
        names = administration.names(one.user_id for one in found)
        return [_session(one, names) for one in found]

    @override
    def get_one(self, id: str) -> SessionRecord | None:
        return _administration().session(id)

    @override
    def get_list_row_actions(self) -> list[Any]:
        return [_EndSession()]

    @override
    @expose("/delete/", methods=("POST",))  # type: ignore[untyped-decorator]
    def delete_view(self) -> Response:
        """End a session; Flask-Admin's own speaks of a record that was deleted."""
        form: Any = self.delete_form()
        if not self.validate_form(form):
            flash("This page was open for too long. Please try again.", "error")
        else:
            record = self.get_one(form.id.data)
            if record is not None and self.delete_model(record):
                flash("The session has been ended.", "success")
            else:
                flash("That session is over already.", "error")
        return cast("Response", redirect(get_redirect_target() or self.get_url(".index_view")))

    @override
    def delete_model(self, model: SessionRecord) -> bool:
        caller = current_caller(_service())
        return _administration().end_session(model, current_session, caller)


class _EndSession(BaseListRowAction):  # type: ignore[misc] # has no types
    """The button of a session; Flask-Admin's own would delete a record."""

    @override
    def render(self, context: Any, row_id: str, row: Any) -> Markup:
        form, get_url = context["delete_form"], context["get_url"]
        return _END_SESSION.format(
            get_url(".delete_view"), form.id(value=row_id), form.url(value=context["return_url"]), form.csrf_token()
        )


_END_SESSION = Markup(
    '<form class="icon" method="POST" action="{}">{}{}{}'
    """<button title="End this session" onclick="return faHelpers.safeConfirm('End this session? """
    """Its user has to log in again there.');"><span class="fa fa-trash glyphicon glyphicon-trash"></span></button>"""
    "</form>"
)


class _Events(_Listed):
    row, title = _Event, "Events"
    asked_for = "name, e-mail, phone or id of a user"

    @override
    def page(self, administration: Administration, search: str, offset: int, limit: int) -> list[_Event]:
        found = administration.events(search, offset=offset, limit=limit)
        names = administration.names(one.user_id for one in found if one.user_id is not None)
        return [_event(one, names) for one in found]


def _nothing() -> None:
    return None


def _service() -> Service:
    return cast("Service", current_app.extensions["otpauth"])


def _administration() -> Administration:
    return _service().administration
