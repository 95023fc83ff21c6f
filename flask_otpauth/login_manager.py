"""What the app's Flask-Login sees of our logins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from typing_extensions import override
from werkzeug.local import LocalProxy

from .errors import AuthenticationRequired, CrossOrigin
from .sessions import real_request
from .types import instant

if TYPE_CHECKING:
    from .flows.service import Service


class _User(LocalProxy[Any]):
    """
    A user of the host in all that he has, and what Flask-Login asks of a user besides.

    Equal to the host's own object, which ``_get_current_object()`` gives.
    """

    __slots__ = ("_added",)

    def __init__(self, user: object, added: Mapping[str, object]) -> None:
        super().__init__(lambda: user)
        object.__setattr__(self, "_added", added)

    @override
    def __getattr__(self, name: str) -> Any:
        added: Mapping[str, object] = object.__getattribute__(self, "_added")
        user = self._get_current_object()
        return added[name] if name in added and not hasattr(user, name) else getattr(user, name)


def attach_flask_login(app: Flask, service: Service) -> bool:
    """
    Let Flask-Login's ``current_user`` and ``@login_required`` see our logins, by a ``request_loader``.

    Only where the app has a login manager that has no such loader yet; tells whether it was set. Flask-Login's own
    cookie keys stay untouched. A user object that lacks what Flask-Login asks of it comes with that, in a proxy.
    """
    manager: Any = getattr(app, "login_manager", None)
    if manager is None or manager._request_callback is not None:
        return False

    def load(real: Request) -> object | None:
        try:
            session = service.sessions.current(real_request(real), instant(service.clock()))
        except (AuthenticationRequired, CrossOrigin):
            return None
        return None if session is None else _presentable(service.users.load(session.user_id), session.user_id)

    manager.request_loader(load)
    return True


def _presentable(user: object | None, user_id: str) -> object | None:
    """Give a user whom Flask-Login can ask: the host's own object, or a proxy that adds what that lacks."""
    asked = {"is_authenticated": True, "is_active": True, "is_anonymous": False, "get_id": lambda: user_id}
    # A plain model has none of it, and nothing is put on an object or a class of the host's.
    return user if user is None or all(hasattr(user, name) for name in asked) else _User(user, asked)
