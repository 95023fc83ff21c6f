"""What only browsers need: the landing page, and sending money in two steps."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

from flask import Blueprint, abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from flask_otpauth import current_session, otp_required

from .answers import page
from .bank import Bank, Order, Refusal
from .forms import Faulty, check_token, read_order
from .money import from_cents
from .views import FRESH

SEE_OTHER, BAD_REQUEST, NOT_FOUND, CONFLICT = 303, 400, 404, 409


def make_pages(bank: Bank) -> Blueprint:
    """Make the blueprint of the pages; each form is answered with a redirection, so that a reload sends nothing."""
    pages = Blueprint("pages", __name__)
    pages.app_template_filter("money")(from_cents)
    pages.app_template_filter("moment")(_moment)
    pages.app_context_processor(lambda: {"stands_in": "otpauth.inbox" in current_app.view_functions, "inbox": _inbox()})
    pages.add_url_rule("/", "home", _home)

    @pages.get("/transfers/new")
    @otp_required
    def order() -> ResponseReturnValue:
        return page("order", account=bank.account_of(current_session.user_id), faults={})

    @pages.post("/transfers/new")
    @otp_required
    def prepare() -> ResponseReturnValue:
        try:
            prepared = bank.prepare(current_session.user_id, *read_order())
        except (Faulty, Refusal) as error:
            mine = bank.account_of(current_session.user_id)
            return page("order", _status(error), account=mine, faults=_faults(error))
        return redirect(url_for("pages.transfer", reference=prepared.reference), SEE_OTHER)

    @pages.get("/transfers/<reference>")
    @otp_required
    def transfer(reference: str) -> ResponseReturnValue:
        return _shown(_found(bank, reference))

    # The text of the order is shown before the code is asked for, and again before the money goes.
    @pages.post("/transfers/<reference>")
    @otp_required(fresh=FRESH)
    def send(reference: str) -> ResponseReturnValue:
        prepared = _found(bank, reference)
        try:
            check_token()
            bank.send(current_session.user_id, prepared.reference)
        except (Faulty, Refusal) as error:
            return _shown(prepared, _status(error), _faults(error))
        return redirect(url_for("pages.transfer", reference=reference), SEE_OTHER)

    return pages


def _home() -> ResponseReturnValue:
    # A proxy that is as good as None for who isn't logged in.
    if not current_session:
        return page("home")
    response = redirect(url_for("bank.account"))
    response.headers["Cache-Control"] = "no-store"
    return response


def _found(bank: Bank, reference: str) -> Order:
    return bank.order(current_session.user_id, reference) or abort(NOT_FOUND)


def _shown(order: Order, status: int = 200, faults: dict[str, str] | None = None) -> ResponseReturnValue:
    if order.sent_at is not None:
        return page("sent", order=order)
    return page("confirm", status, order=order, faults=faults or {}, fresh=_is_fresh())


def _is_fresh() -> bool:
    """Tell whether the code needn't be asked for; only the words of the page depend on it."""
    proved = current_session.code_at
    return bool(current_session.fresh and proved is not None and datetime.now(UTC) - proved < FRESH)


def _status(error: Faulty | Refusal) -> int:
    return BAD_REQUEST if isinstance(error, Faulty) else CONFLICT


def _faults(error: Faulty | Refusal) -> dict[str, str]:
    return error.faults if isinstance(error, Faulty) else {error.field or "": str(error)}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _inbox() -> str | None:
    """Give the address of the development inbox, which lists the codes, to who may see it: this very machine."""
    try:
        local = ip_address(request.remote_addr or "::").is_loopback
    except ValueError:  # whatever a proxy calls it
        local = False
    return url_for("otpauth.inbox") if local and "otpauth.inbox" in current_app.view_functions else None
