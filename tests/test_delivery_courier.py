"""The courier: chains of senders within one time-out, stand-ins, captures, and logs without codes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from flask_otpauth.config import read
from flask_otpauth.delivery import ConsoleSender, Inbox, Post, Texts, Threads
from flask_otpauth.errors import DeliveryFailed
from flask_otpauth.types import Courier, Draft, Message, Sender, SenderLike, moment

Maker = Callable[..., Flask]
Maker2 = Callable[..., Post]


class Recording:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message, /) -> None:
        self.messages.append(message)


def refuse(message: Message) -> None:
    raise RuntimeError(f"refused: {message.body} for {message.to}")


@pytest.fixture
def app(make_app: Maker) -> Flask:
    return make_app(TESTING=False)


@pytest.fixture
def gate() -> Generator[threading.Event, None, None]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def post(app: Flask) -> Maker2:
    """Give a maker of couriers."""

    def make(
        senders: dict[str, Sequence[SenderLike]] | None = None,
        stand_ins: Sequence[Sender] = (),
        load_user: Callable[[str], object] = lambda user_id: {"id": user_id},
        **config: Any,
    ) -> Post:
        settings, faults = read({f"OTPAUTH_{name.upper()}": value for name, value in config.items()})
        assert faults == []
        return Post(app, settings, senders or {}, Threads(app), Texts(app, "Acme"), load_user, stand_ins=stand_ins)

    return make


def draft(channel: str = "sms", **more: Any) -> Draft:
    given: dict[str, Any] = {"template": "login", "to": "+15005550006", "code": "004217", "lifetime": 300, **more}
    return Draft(channel=channel, purpose="login", **given)


def test_it_is_a_courier(post: Maker2) -> None:
    courier: Courier = post({"sms": [Recording()]})
    assert courier.channels == ("sms",)


def test_a_message_holds_all_that_a_sender_needs(post: Maker2) -> None:
    sender = Recording()
    post({"email": [sender]}).send(
        draft("email", to="ann@example.org", user_id="7", locale="he", expires_at=1_700_000_000_000)
    )
    [message] = sender.messages
    assert (message.to, message.code, message.purpose, message.channel) == (
        "ann@example.org",
        "004217",
        "login",
        "email",
    )
    assert message.body.startswith("Acme")
    assert message.subject == "Your code to log in to Acme"
    assert '<html lang="he">' in str(message.html)
    assert message.locale == "he"
    assert message.expires_at == moment(1_700_000_000_000)
    assert message.user == {"id": "7"}
    assert "004217" not in repr(message)


def test_the_user_is_loaded_only_when_asked_for(post: Maker2) -> None:
    loaded: list[str] = []
    sender = Recording()
    courier = post({"sms": [sender]}, load_user=loaded.append)
    courier.send(draft(user_id="7"))
    courier.send(draft())
    assert loaded == []
    assert sender.messages[1].user is None
    assert sender.messages[0].user is None
    assert loaded == ["7"]


def test_a_sender_runs_in_a_context_of_the_app(post: Maker2, app: Flask) -> None:
    seen: list[object] = []
    post({"sms": [lambda _: seen.append(current_app._get_current_object())]}).send(draft())
    assert seen == [app]


def test_the_first_sender_that_returns_ends_the_chain(post: Maker2) -> None:
    first, second = Recording(), Recording()
    post({"sms": [refuse, first, second]}).send(draft())
    assert (len(first.messages), len(second.messages)) == (1, 0)


def test_a_chain_that_fails_is_told_and_quotes_nothing(post: Maker2, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        post({"sms": [refuse, refuse]}).send(draft())
    error: BaseException | None = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "Sender refuse of channel sms failed: RuntimeError: refused" in caplog.text
    for secret in ("004217", "15005550006"):
        assert secret not in caplog.text
        assert all(secret not in str(vars(record)) for record in caplog.records)


def test_a_sender_that_hangs_leaves_time_for_the_next(post: Maker2, gate: threading.Event) -> None:
    second = Recording()
    courier = post({"sms": [lambda _: gate.wait(20), second]}, send_timeout=1)
    before = time.monotonic()
    courier.send(draft())
    assert time.monotonic() - before < 0.9
    assert len(second.messages) == 1


def test_a_chain_that_hangs_holds_the_caller_no_longer_than_the_time_out(
    post: Maker2, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    courier = post({"sms": [lambda _: gate.wait(20)] * 3}, send_timeout=1)
    before = time.monotonic()
    with pytest.raises(DeliveryFailed):
        courier.send(draft())
    assert 0.8 < time.monotonic() - before < 1.6
    assert caplog.text.count("TimeoutError") == 3


def test_a_gateway_that_hangs_stops_its_own_channel_only(post: Maker2, gate: threading.Event) -> None:
    mail = Recording()
    courier = post({"sms": [lambda _: gate.wait(20)], "email": [mail]}, send_timeout=1)

    def fails(_: int) -> bool:
        with pytest.raises(DeliveryFailed):
            courier.send(draft())
        return True

    with ThreadPoolExecutor(64) as pool:  # as many as have a thread, and may wait for one
        assert all(pool.map(fails, range(64)))
    courier.send(draft("email"))
    assert len(mail.messages) == 1


def test_a_channel_without_a_sender_fails(post: Maker2, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DeliveryFailed):
        post({"sms": [Recording()]}).send(draft("email"))
    assert "The channel email has no sender" in caplog.text


def test_a_broken_template_fails_without_a_code_in_the_log(
    post: Maker2, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(app.root_path) / "templates/otpauth/messages/login.txt"
    path.parent.mkdir(parents=True)
    path.write_text("{{ code.nothing.at_all }}")
    with pytest.raises(DeliveryFailed):
        post({"sms": [Recording()]}).send(draft())
    assert "login can't be rendered" in caplog.text
    assert "004217" not in caplog.text


# --- channels -----------------------------------------------------------------------------------------------------


def test_registered_channels_are_served_sms_first(post: Maker2) -> None:
    courier = post({"voice": [Recording()], "email": [Recording()]})
    assert courier.channels == ("voice", "email")
    courier.register("sms", Recording())
    assert courier.channels == ("sms", "voice", "email")
    assert courier.missing == ()


def test_the_setting_orders_channels_and_tells_what_is_missing(post: Maker2) -> None:
    courier = post({"sms": [Recording()], "voice": [Recording()]}, channels=("voice", "whatsapp", "sms"))
    assert courier.channels == ("voice", "sms")
    assert courier.missing == ("whatsapp",)


def test_registering_replaces_the_chain(post: Maker2) -> None:
    old, new, spare = Recording(), Recording(), Recording()
    courier = post({"sms": [old]})
    courier.register("sms", refuse, new, spare)
    courier.send(draft())
    assert (len(old.messages), len(new.messages), len(spare.messages)) == (0, 1, 0)


def test_a_class_may_be_registered(post: Maker2) -> None:
    sent: list[Message] = []

    class Gateway:
        def send(self, message: Message, /) -> None:
            sent.append(message)

    courier = post()
    courier.register("sms", Gateway)
    courier.send(draft())
    assert len(sent) == 1


def test_what_is_no_channel_or_no_sender_is_refused(post: Maker2) -> None:
    courier = post({"sms": []})
    assert courier.channels == ()
    for name in ("", "SMS", "a b", "../etc", "x" * 33):
        with pytest.raises(ValueError, match="is no channel"):
            courier.register(name, Recording())
    with pytest.raises(TypeError, match="is no sender"):
        courier.register("sms", 5)


# --- stand-ins ----------------------------------------------------------------------------------------------------


def test_stand_ins_serve_sms_and_mail_where_there_is_no_sender(
    post: Maker2, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = Inbox()
    courier = post(stand_ins=(inbox, ConsoleSender()))
    assert courier.channels == ("sms", "email")
    for channel in courier.channels:
        courier.send(draft(channel))
    assert [message.channel for message in inbox.messages] == ["email", "sms"]
    assert capsys.readouterr().out.count("CODE=004217") == 2


def test_stand_ins_step_back_for_a_real_sender(post: Maker2) -> None:
    inbox, sender = Inbox(), Recording()
    courier = post({"email": [sender]}, stand_ins=(inbox,))
    assert courier.channels == ("email",)
    courier.send(draft("email"))
    assert (len(inbox.messages), len(sender.messages)) == (0, 1)


def test_stand_ins_serve_every_channel_that_the_setting_names(post: Maker2) -> None:
    inbox = Inbox()
    courier = post({"email": [Recording()]}, stand_ins=(inbox,), channels=("voice", "email"))
    assert courier.channels == ("voice", "email")
    assert courier.missing == ()
    courier.send(draft("voice"))
    assert len(inbox.messages) == 1


def test_a_console_that_is_gone_does_not_stop_the_inbox(post: Maker2, tmp_path: Path) -> None:
    inbox = Inbox()
    with (tmp_path / "console").open("w") as stream:
        console = ConsoleSender(stream)
    post(stand_ins=(console, inbox)).send(draft())
    assert len(inbox.messages) == 1


# --- captures -----------------------------------------------------------------------------------------------------


def test_a_capture_takes_all_channels_in_line(post: Maker2) -> None:
    sender = Recording()
    courier = post({"voice": [sender]})
    with courier.capture() as messages:
        assert courier.channels == ("sms", "email", "voice")
        for channel in courier.channels:
            courier.later(lambda channel=channel: courier.send(draft(channel)))
        assert [message.channel for message in messages] == ["sms", "email", "voice"]
        assert messages[-1].code == "004217"
    assert sender.messages == []
    assert courier.channels == ("voice",)
    courier.send(draft("voice"))
    assert len(sender.messages) == 1


def test_a_capture_keeps_to_the_channels_of_the_setting(post: Maker2) -> None:
    courier = post(channels=("whatsapp",))
    assert courier.channels == ()
    with courier.capture() as messages:
        assert courier.channels == ("whatsapp",)
        assert courier.missing == ()
        courier.send(draft("whatsapp"))
    assert len(messages) == 1


def test_the_innermost_capture_collects(post: Maker2) -> None:
    courier = post()
    with courier.capture() as outer:
        with courier.capture() as inner:
            courier.send(draft())
        courier.send(draft("email"))
    assert [message.channel for message in inner] == ["sms"]
    assert [message.channel for message in outer] == ["email"]


def test_a_capture_ends_with_an_exception(post: Maker2) -> None:
    courier = post()
    with pytest.raises(ZeroDivisionError), courier.capture():
        _ = 1 / 0
    assert courier.channels == ()


# --- jobs ---------------------------------------------------------------------------------------------------------


def test_later_leaves_the_request(post: Maker2, gate: threading.Event) -> None:
    done = threading.Event()
    post().later(lambda: (gate.wait(10), done.set())[1])
    assert not done.is_set()
    gate.set()
    assert done.wait(5)


def test_many_callers_send_at_once(post: Maker2, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sender = Recording()
    courier = post({"sms": [sender]})
    callers = [threading.Thread(target=lambda n=n: courier.send(draft(code=f"{n:06}"))) for n in range(50)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(str(message.code) for message in sender.messages) == [f"{n:06}" for n in range(50)]
    assert caplog.records == []
