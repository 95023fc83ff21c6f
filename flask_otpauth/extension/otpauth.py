"""The class that a host puts on its app."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, has_app_context, request
from flask_sqlalchemy import SQLAlchemy

from ..api import DESCRIBED, DocumentHooks, Documents, DocumentShaper, current_caller, respond_to_login
from ..cli import commands_for
from ..decorators import problem_response, protect
from ..delivery import Post
from ..errors import ConfigurationError, OTPAuthError
from ..flows.hooks import BeforeSend, Hooks, Shaper
from ..flows.service import Service
from ..pages import log_in_browser
from ..redirects import asks_for_html
from ..sessions import checks_revocation
from ..types import ClaimsLoader, Clock, PasswordValidator, SenderLike, Senders, UserStore
from .arguments import Arguments, chain_of
from .assembly import put_together
from .late import check_before_first_request
from .shaping import Body, shaper_of

EXTENSION = "otpauth"

SenderT = TypeVar("SenderT", bound=Senders)
ShaperT = TypeVar("ShaperT", bound=Shaper)
BeforeSendT = TypeVar("BeforeSendT", bound=BeforeSend)
ClaimsLoaderT = TypeVar("ClaimsLoaderT", bound=ClaimsLoader)
PasswordValidatorT = TypeVar("PasswordValidatorT", bound=PasswordValidator)
DocumentShaperT = TypeVar("DocumentShaperT", bound=DocumentShaper)
HookT = TypeVar("HookT", bound=Callable[..., Any])
ViewT = TypeVar("ViewT", bound=Callable[..., Any])
SpecT = TypeVar("SpecT")


class OTPAuth:
    """
    One-time-code authentication for Flask apps.

    One instance may serve several apps; what belongs to an app is in ``app.extensions["otpauth"]``.

    Args:
        app: The app, or None for ``init_app`` later. Its ``config`` is read then, once.
        db: The app's own Flask-SQLAlchemy, set up on the app before. Its tables are then the app's to make. Default:
            the one that the app has, else one of ours, whose missing tables are made at the first use.
        user_model: The app's own model. Default: a built-in ``User``, table ``users``.
        users: A ``UserStore``, for users that aren't in SQLAlchemy.
        sms: Sender of the channel "sms": an object with ``send(message)`` or a function; or a list of such, of which
            each is tried when those before have failed.
        email: Sender of the channel "email", likewise. Default: the server of ``SMTP_SERVER``, the app's Flask-Mail, or
            the server of ``MAIL_SERVER``; config first, then environment.
        clock: Gives the time, aware and UTC. Default: that of the machine.

    Raises:
        ConfigurationError: All mistakes in the configuration at once, each with its cure.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: SQLAlchemy | None = None,
        user_model: type[Any] | None = None,
        users: UserStore | None = None,
        sms: Senders | None = None,
        email: Senders | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._given = Arguments(db=db, user_model=user_model, users=users, clock=clock or _utc_now)
        self._senders: dict[str, tuple[SenderLike, ...]] = {}
        self._hooks = Hooks()
        self._document_hooks = DocumentHooks()
        self._documents: weakref.WeakKeyDictionary[Flask, Documents] = weakref.WeakKeyDictionary()
        self._posts: weakref.WeakSet[Post] = weakref.WeakSet()
        for channel, sender in (("sms", sms), ("email", email)):
            if sender is not None:
                self._senders[channel] = chain_of(sender)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Set up an app; its other extensions come first.

        Raises:
            ConfigurationError: All mistakes in the configuration at once, each with its cure.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError(["OTPAuth is on this app already; one is enough."])
        made = put_together(app, self._given, self._senders, self._hooks, self._document_hooks)
        self._posts.add(made.post)
        self._documents[app] = made.documents
        app.extensions[EXTENSION] = made.service
        app.register_error_handler(OTPAuthError, _answer)
        app.cli.add_command(commands_for(made.tools))
        check_before_first_request(app, made)

    # --- what a host decides --------------------------------------------------------------------------------------

    def sender(self, channel: str, *, fallback: bool = False) -> Callable[[SenderT], SenderT]:
        """
        Register a sender for a channel: "sms", "email", or one of the host's own ("voice", "whatsapp").

        A channel other than "email" goes to the user's phone number. With ``fallback`` it is tried when those before
        have failed; a list is such a chain by itself: ``auth.sms_sender([first, second])``.

        Raises:
            ValueError: The list is empty.
        """

        def register(sender: SenderT) -> SenderT:
            chain = chain_of(sender)
            if not chain:
                raise ValueError("an empty list sends nothing; name a sender")
            before = self._senders.get(channel, ()) if fallback else ()
            self._senders[channel] = (*before, *chain)
            for post in self._posts:
                post.register(channel, *self._senders[channel])
            return sender

        return register

    def sms_sender(self, sender: SenderT) -> SenderT:
        """Register the sender of text messages; a decorator. See ``sender``."""
        return self.sender("sms")(sender)

    def email_sender(self, sender: SenderT) -> SenderT:
        """Register the sender of e-mail; a decorator. See ``sender``."""
        return self.sender("email")(sender)

    def response_shaper(self, shaper: ShaperT) -> ShaperT:
        """
        Register a function that may put another answer in the place of each JSON answer; a decorator.

        It gets an ``Answer`` (``endpoint``, ``status``, ``body``, ``headers``), problems too, after the field names
        were mapped, and gives another one, or None; what it sets on the one that it got holds too.
        """
        self._hooks.shapers.append(shaper)
        return shaper

    def response_bodies(self, **bodies: Body) -> None:
        """
        Put other bodies in the place of the standard ones; each with status 200.

        By endpoint the body of its successes, or a function of the ``Answer`` that gives that body, or None to leave
        the answer as it is. Problems keep their form, and tokens that an answer hands out are in the new body too.

        Raises:
            ConfigurationError: There is no endpoint of that name.
        """
        self._hooks.shapers.append(shaper_of(bodies))
        self._document_hooks.bodies.append(bodies)

    def before_send(self, hook: BeforeSendT) -> BeforeSendT:
        """
        Register a function that is asked before each message with a code: captcha, risk, fraud; a decorator.

        It gets a ``types.SendRequest`` (``purpose``, ``channel``, ``destination``, ``user``, ``extra``, ``address``),
        within the request, before anything is counted, stored or sent; of unknown identifiers alike. It refuses by
        raising an ``OTPAuthError``, which is the answer then, or by giving False or aborting with a status of 4xx (403
        ``forbidden``). Whatever else it raises is a 503. It isn't asked for notices, which carry no code.
        """
        self._hooks.before_send.append(_awaited_by_nobody(hook))
        return hook

    def claims_loader(self, loader: ClaimsLoaderT) -> ClaimsLoaderT:
        """
        Register a function that gives further claims for access tokens, from the host's own user; a decorator.

        The claims of ours can't be replaced. Where it raises, no token is made (503). Refreshed tokens ask it again.
        """
        self._hooks.claims_loaders.append(_awaited_by_nobody(loader))
        return loader

    def password_validator(self, validator: PasswordValidatorT) -> PasswordValidatorT:
        """
        Register a function that may refuse a new password which our own rules allow; a decorator.

        It gets the password and says in a sentence, which must not repeat it, what is wrong, or raises ``ValueError``
        with that sentence; for a good one it gives None or True. Where it raises anything else, the password isn't
        taken (503).
        """
        self._hooks.password_validators.append(_awaited_by_nobody(validator))
        return validator

    def openapi_shaper(self, shaper: DocumentShaperT) -> DocumentShaperT:
        """
        Register a function that changes the OpenAPI document, or gives another one in its place; a decorator.

        For an app whose ``response_shaper`` gives its answers another form.
        """
        self._document_hooks.shapers.append(shaper)
        return shaper

    @staticmethod
    def documented(
        *,
        summary: str | None = None,
        description: str | None = None,
        tag: str = "app",
        request: object = None,
        responses: Mapping[int, object] | None = None,
        query: Mapping[str, dict[str, Any]] | None = None,
    ) -> Callable[[ViewT], ViewT]:
        """
        Put a view of the host's into the OpenAPI document, with what our decorators ask and how they refuse.

        Above or below those decorators, on functions and on methods of a ``MethodView``.

        Args:
            summary: Default: the first line of the docstring.
            description: Default: its other lines.
            tag: Under which the view is listed.
            request: Schema of the JSON body: a JSON schema, or a type that pydantic knows.
            responses: By status, such schemas; None for an answer without a body.
            query: JSON schemas of the query's parameters, by name.
        """

        said: dict[str, Any] = {
            "summary": summary,
            "description": description,
            "tag": tag,
            "request": request,
            "responses": responses or {},
            "query": query or {},
        }

        def describe(view: ViewT) -> ViewT:
            view.__dict__[DESCRIBED] = said
            return view

        return describe

    # --- what a host calls ----------------------------------------------------------------------------------------

    def login(self, user: object, amr: tuple[str, ...] = ("user",)) -> Response:
        """
        Finish a login whose first factor the host has checked itself; gives the answer to return from the view.

        It goes on at the second factor: a challenge where a code is due, else the credentials. With ``OTPAUTH_PAGES``
        a browser is sent on to the page of the code, or to where its login leads.

        Args:
            user: An object of the user model, committed.
            amr: How the user was authenticated (RFC 8176), for the tokens: ``("oauth",)``, ``("pwd",)``.
        """
        service = _service()
        if service.settings.pages and asks_for_html(request):
            return log_in_browser(service, user, amr)
        try:
            outcome = service.login.finish_host_login(user, amr, current_caller(service))
        except OTPAuthError as error:
            return problem_response(error, service)
        return respond_to_login(service, outcome)

    def openapi(self, app: Flask | None = None) -> dict[str, Any]:
        """
        Give the OpenAPI 3.1 document of an app as it is now: a ``dict`` of the caller's own.

        Args:
            app: Default: the current app, else the one that this instance is on.

        Raises:
            RuntimeError: It can't be told which app is meant.
        """
        found = app or _current() or (next(iter(self._documents)) if len(self._documents) == 1 else None)
        if found is None or found not in self._documents:
            raise RuntimeError("Say which app's document is wanted: auth.openapi(app).")
        return self._documents[found].make(found)

    def merge_openapi(self, spec: SpecT, app: Flask | None = None) -> SpecT:
        """
        Put the endpoints into a host's own OpenAPI document, which keeps what it has, and give it back.

        Args:
            spec: The document as a ``dict``, or an ``APISpec`` of the package apispec; of OpenAPI 3.0 or 3.1.
            app: As in ``openapi``.

        Raises:
            TypeError: It is no such document.
            RuntimeError: As ``openapi``.
        """
        from ..openapi import merge

        return merge(spec, self.openapi(app))

    def protect(self, blueprint: Blueprint, **requirements: Any) -> None:
        """Protect all views of a blueprint, before it is registered; see ``decorators.protect``."""
        protect(blueprint, **requirements)

    @checks_revocation
    def token_revoked(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
        """
        Tell the host's own ``JWTManager`` whether a token's session is over.

        Register it: ``jwt.token_in_blocklist_loader(auth.token_revoked)``.
        """
        return _service().sessions.token_revoked(header, claims)


def _current() -> Flask | None:
    return current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]


def _awaited_by_nobody(hook: HookT) -> HookT:
    if iscoroutinefunction(hook):
        raise TypeError(f"{hook.__name__} is async, and nobody would await what it decides: make it a plain function")
    return hook


def _service() -> Service:
    return cast("Service", current_app.extensions[EXTENSION])


def _answer(error: OTPAuthError) -> Response:
    return problem_response(error, _service())


def _utc_now() -> datetime:
    return datetime.now(UTC)
