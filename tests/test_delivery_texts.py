"""Texts: what messages say, and how an app says it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from jinja2 import TemplateError

from flask_otpauth.delivery import TEMPLATES, Texts
from flask_otpauth.delivery.texts import in_words
from flask_otpauth.types import Draft

CODES = ("login", "confirm", "step_up", "transaction", "contact", "reset")
NOTICES = ("notice_locked", "notice_new_device", "notice_address_taken", "notice_wrong_code", "notice_mfa_changed")
DETAILS = {"amount": "1,250.00 EUR", "to": "Ann"}
# GSM 03.38, basic set, without the escape; what is outside of it halves the length of a message.
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

Maker = Callable[..., Flask]


def draft(template: str, channel: str = "sms", **more: object) -> Draft:
    values = {"code": None if template in NOTICES else "004217", "lifetime": 300, **more}
    return Draft(template=template, channel=channel, to="+15005550006", **values)


def override(app: Flask, name: str, text: str) -> None:
    path = Path(app.root_path) / "templates" / "otpauth" / "messages" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("template", CODES)
def test_a_text_message_names_app_code_and_lifetime(make_app: Maker, template: str) -> None:
    body = Texts(make_app(), "Acme").render(draft(template)).body
    assert body.startswith("Acme: 004217 ")
    assert "5 minutes" in body
    assert "If it wasn't you" in body


@pytest.mark.parametrize("template", [*CODES, *NOTICES])
def test_a_text_message_fits_into_one_with_a_usual_name(make_app: Maker, template: str) -> None:
    body = Texts(make_app(), "Acme Savings Bank").render(draft(template, values={"details": DETAILS})).body
    assert len(body) <= 160
    assert set(body) <= GSM
    assert "\n" not in body


@pytest.mark.parametrize("template", [*CODES, *NOTICES])
def test_a_mail_has_subject_text_and_html(make_app: Maker, template: str) -> None:
    text = Texts(make_app(), "Acme").render(draft(template, "email", values={"details": DETAILS}))
    assert text.subject
    assert "Acme" in text.subject
    assert "\n" not in text.subject
    assert text.html is not None
    for part in (text.body, text.html):
        assert "Acme" in part
        assert "If it wasn" in part
        assert ("004217" in part) == ("5 minutes" in part) == (template in CODES)


@pytest.mark.parametrize("template", [*CODES, *NOTICES])
def test_a_subject_has_no_code(make_app: Maker, template: str) -> None:
    # Mail servers write subjects into their logs.
    assert "004217" not in str(Texts(make_app()).render(draft(template, "email")).subject)


@pytest.mark.parametrize("template", [*CODES, *NOTICES])
def test_html_loads_nothing_and_holds_no_table(make_app: Maker, template: str) -> None:
    html = str(Texts(make_app()).render(draft(template, "email")).html)
    for word in ("http:", "https:", "src=", "url(", "<table", "<script", "<img", "<a "):
        assert word not in html
    assert 'name="color-scheme" content="light dark"' in html


def test_a_transaction_is_told_in_every_form(make_app: Maker) -> None:
    texts = Texts(make_app())
    values = {"details": {"amount": "5 < 6", "to": "Ann"}}
    assert "approves amount 5 < 6, to Ann." in texts.render(draft("transaction", values=values)).body
    mail = texts.render(draft("transaction", "email", values=values))
    assert "amount: 5 < 6\nto: Ann" in mail.body
    assert "<dd>5 &lt; 6</dd>" in str(mail.html)


def test_html_escapes_the_name_and_text_does_not(make_app: Maker) -> None:
    mail = Texts(make_app(), "Ben & <Jerry>").render(draft("login", "email"))
    assert "Ben &amp; &lt;Jerry&gt;" in str(mail.html)
    assert "Ben & <Jerry>" in mail.body
    assert mail.subject == "Your code to log in to Ben & <Jerry>"


def test_the_name_defaults_to_that_of_the_app(make_app: Maker) -> None:
    assert Texts(make_app()).render(draft("login")).body.startswith("host: ")


def test_values_of_a_draft_do_not_replace_the_code(make_app: Maker) -> None:
    assert "004217" in Texts(make_app()).render(draft("login", values={"code": "999999"})).body


def test_an_origin_bound_code_is_the_last_line_of_text_messages_only(make_app: Maker) -> None:
    texts = Texts(make_app(), sms_origin="bank.example")
    assert texts.render(draft("login")).body.splitlines()[-1] == "@bank.example #004217"
    assert "@bank.example" not in texts.render(draft("notice_locked")).body
    assert "@bank.example" not in texts.render(draft("login", "email")).body
    assert "@bank.example" not in texts.render(draft("login", "voice")).body


def test_the_app_overrides_a_text_for_one_channel_or_for_all(make_app: Maker) -> None:
    app = make_app()
    override(app, "login.sms.txt", "Short {{ code }}")
    override(app, "confirm.txt", "Welcome {{ code }}")
    override(app, "login.subject.txt", "Ahoy\nthere")
    texts = Texts(app)
    assert texts.render(draft("login")).body == "Short 004217"
    assert "is your code to log in" in texts.render(draft("login", "voice")).body
    assert texts.render(draft("confirm", "voice")).body == "Welcome 004217"
    assert texts.render(draft("login", "email")).subject == "Ahoy there"


def test_the_app_overrides_the_layout_of_all_mails(make_app: Maker) -> None:
    app = make_app()
    override(app, "layout.html", "<b>{{ app }}</b>{% block intro %}{% endblock %}{{ code }}")
    html = Texts(app, "Acme").render(draft("reset", "email")).html
    assert html == "<b>Acme</b>This is your code to choose a new password for Acme.004217"


def test_a_text_of_the_apps_own_needs_no_subject_and_no_html(make_app: Maker) -> None:
    app = make_app()
    override(app, "welcome.txt", "Hello from {{ app }}")
    text = Texts(app, "Acme").render(draft("welcome", "email", code=None))
    assert (text.body, text.subject, text.html) == ("Hello from Acme", "Acme", None)


def test_templates_see_filters_and_globals_of_the_app(make_app: Maker) -> None:
    app = make_app()
    app.template_filter("spaced")(" ".join)
    app.template_global("slogan")(lambda: "safe")
    override(app, "login.txt", "{{ code|spaced }} {{ slogan() }}")
    assert Texts(app).render(draft("login")).body == "0 0 4 2 1 7 safe"


def test_other_delimiters_of_the_app_leave_messages_whole(make_app: Maker) -> None:
    app = make_app()
    app.jinja_options = {**app.jinja_options, "variable_start_string": "[[", "variable_end_string": "]]"}
    assert "004217" in Texts(app).render(draft("login")).body


def test_a_template_is_read_once_unless_the_app_reloads(make_app: Maker) -> None:
    for reload, expected in ((False, "one"), (True, "two")):
        app = make_app(TEMPLATES_AUTO_RELOAD=reload)
        override(app, "login.txt", "one")
        texts = Texts(app)
        texts.render(draft("login"))
        override(app, "login.sms.txt", "two")
        assert texts.render(draft("login")).body == expected
        (Path(app.root_path) / "templates/otpauth/messages/login.sms.txt").unlink()


def test_a_broken_template_is_told(make_app: Maker) -> None:
    app = make_app()
    override(app, "login.html", "{% extends 'nowhere.html' %}")
    override(app, "reset.html", "{% if %}")
    texts = Texts(app)
    for template in ("login", "reset"):
        with pytest.raises(TemplateError):
            texts.render(draft(template, "email"))
    with pytest.raises(TemplateError):
        texts.render(draft("unheard_of"))


def test_rendering_needs_no_request_and_no_context(make_app: Maker) -> None:
    texts = Texts(make_app())
    seen: list[str] = []
    thread = Thread(target=lambda: seen.append(texts.render(draft("login")).body))
    thread.start()
    thread.join()
    assert "004217" in seen[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (4, "4 seconds"),
        (45, "45 seconds"),
        (58, "1 minute"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (119, "2 minutes"),
        (120, "2 minutes"),
        (170, "2 minutes"),
        (299, "5 minutes"),
        (300, "5 minutes"),
        (600, "10 minutes"),
    ],
)
def test_lifetimes_are_said_in_words(seconds: int, words: str) -> None:
    assert in_words(seconds) == words


def test_the_package_ships_its_templates() -> None:
    names = {path.name for path in (TEMPLATES / "otpauth" / "messages").iterdir()}
    for template in (*CODES, *NOTICES):
        assert {f"{template}{end}" for end in (".txt", ".email.txt", ".subject.txt", ".html")} <= names
