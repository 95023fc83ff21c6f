"""The views of programs and browsers alike: the account, and its transfers."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from flask_otpauth import current_session, current_user, otp_required

from .answers import answer
from .bank import Bank, Order

FRESH = timedelta(minutes=5)
"""How old the code may be that lets money go; a refreshed token never counts as fresh."""
SHORT, LONG = 5, 100
"""How many transfers are shown beside the balance, and how many on a page of their own."""


def make_views(bank: Bank) -> Blueprint:
    """Make the blueprint that answers in JSON, or with a page where pages are on."""
    views = Blueprint("bank", __name__)

    @views.get("/account")
    @otp_required
    def account() -> ResponseReturnValue:
        mine = bank.account_of(current_session.user_id)
        body = {"owner": current_user.username, "number": mine.number, "balance": mine.balance}
        return answer(body, "account", account=mine, transfers=bank.transfers(mine, SHORT))

    @views.get("/transfers")
    @otp_required
    def transfers() -> ResponseReturnValue:
        mine = bank.account_of(current_session.user_id)
        found = bank.transfers(mine, LONG)
        return answer({"transfers": [_entry(order) for order in found]}, "transfers", account=mine, transfers=found)

    @views.post("/transfers")
    @otp_required(fresh=FRESH)
    def transfer() -> ResponseReturnValue:
        to, amount = _wish()
        mine = bank.transfer(current_session.user_id, to, amount)
        return jsonify(number=mine.number, balance=mine.balance, sent=amount, to=to), 201

    return views


def _entry(order: Order) -> dict[str, object]:
    return {"from": order.source, "to": order.target, "amount": order.amount, "sent_at": order.sent_at}


def _wish() -> tuple[int, int]:
    """Read number and cents of a transfer from the body."""
    try:
        body = request.get_json()
    except RecursionError:
        raise BadRequest("The body is nested too deep.") from None
    match body:
        # Exactly int, as a bool is one too; and no more digits than any client's numbers have.
        case {"to": to, "amount": amount, **rest} if not rest and all(
            type(number) is int and 0 < number < 2**53 for number in (to, amount)
        ):
            return to, amount
        case _:
            raise BadRequest('Send {"to": the number of an account, "amount": cents}, both whole numbers.')
