"""The form of an order, read strictly; its token is Flask-WTF's."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from flask import request

from .money import to_cents

_NUMBER = re.compile(r"[0-9]{1,9}")


class Faulty(Exception):
    """A form can't be taken as it is; ``faults`` says by field, or by "" for all of it, what is wrong."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(faults)
        self.faults = faults


def read_order() -> tuple[int, int]:
    """
    Give the number of an account and cents.

    Raises:
        Faulty: A field is missing or not as it must be, or the form isn't from one of our pages.
    """
    check_token()
    to, amount = typed("to"), to_cents(typed("amount"))
    faults: dict[str, str] = {}
    if not _NUMBER.fullmatch(to):
        faults["to"] = "Enter the number of an account, such as 1000."
    if amount is None:
        faults["amount"] = "Enter an amount such as 25 or 25.50, without a currency."
    elif amount == 0:
        faults["amount"] = "Enter more than nothing."
    if faults or amount is None:
        raise Faulty(faults)
    return int(to), amount


def typed(name: str) -> str:
    """Give what was typed into a field, without blanks around it."""
    return request.form.get(name, "").strip()


def check_token() -> None:
    """
    Let a form pass that one of our pages has given to this browser.

    Raises:
        Faulty: It has no such token, or too old a one.
    """
    # By name: it has no types.
    csrf: Any = import_module("flask_wtf.csrf")
    try:
        csrf.validate_csrf(request.form.get("csrf_token"))
    except csrf.ValidationError:
        raise Faulty({"": "This page was open for too long, or cookies are off. Please try again."}) from None
