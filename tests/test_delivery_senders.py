"""Senders without a network, and what logs may tell of failures."""

from __future__ import annotations

import functools
import io
from threading import Thread

import pytest

from flask_otpauth.delivery import ConsoleSender, FunctionSender, Inbox, adapt
from flask_otpauth.delivery.causes import cause
from flask_otpauth.delivery.senders import name_of
from flask_otpauth.types import Message, moment


def message(to: str = "+15005550006", code: str | None = "004217", subject: str | None = None) -> Message:
    return Message(
        to=to, body=f"Acme: {code}", code=code, purpose="login", channel="sms", subject=subject, expires_at=moment(0)
    )


class Keeping:
    def __init__(self) -> None:
        self.kept: list[Message] = []

    def send(self, message: Message, /) -> None:
        self.kept.append(message)


def test_a_function_is_a_sender() -> None:
    kept: list[Message] = []
    sender = adapt(kept.append)
    sender.send(message())
    assert [one.code for one in kept] == ["004217"]


def test_an_object_with_send_is_taken_as_it_is() -> None:
    sender = Keeping()
    assert adapt(sender) is sender


def test_a_class_of_senders_is_instantiated() -> None:
    sender = adapt(Keeping)
    assert isinstance(sender, Keeping)
    sender.send(message())
    assert len(sender.kept) == 1


def test_an_async_function_is_awaited() -> None:
    kept: list[Message] = []

    async def send(message: Message) -> None:
        kept.append(message)

    adapt(send).send(message())
    assert len(kept) == 1


def test_what_is_no_sender_is_refused() -> None:
    with pytest.raises(TypeError, match="is no sender"):
        adapt("https://gateway.example")


def test_senders_have_names_for_logs() -> None:
    def send_sms(message: Message) -> None: ...

    assert name_of(adapt(send_sms)).endswith("send_sms")
    assert name_of(adapt(Keeping())) == "Keeping"
    assert name_of(FunctionSender(functools.partial(send_sms))) == "partial"


def test_the_console_prints_a_line_to_copy(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleSender().send(message(subject="Your code"))
    lines = capsys.readouterr().out.splitlines()
    assert "CODE=004217" in lines
    assert "Subject: Your code" in lines
    assert "development only" in lines[0]
    assert "+15005550006" in lines[0]


def test_the_console_prints_a_notice_without_a_code() -> None:
    stream = io.StringIO()
    ConsoleSender(stream).send(message(code=None))
    assert "CODE" not in stream.getvalue()


def test_the_inbox_keeps_the_newest_first_and_no_more_than_its_size() -> None:
    inbox = Inbox(size=2)
    for code in ("000001", "000002", "000003"):
        inbox.send(message(code=code))
    assert [one.code for one in inbox.messages] == ["000003", "000002"]
    inbox.clear()
    assert inbox.messages == ()


def test_the_inbox_may_be_read_while_others_send() -> None:
    inbox = Inbox(size=50)
    threads = [Thread(target=lambda: [inbox.send(message()) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(inbox.messages) <= 50
    for thread in threads:
        thread.join()
    assert len(inbox.messages) == 50


@pytest.mark.parametrize(
    "text",
    [
        "POST https://sms.example/send?to=%2B15005550006&text=Acme%3A+004217 failed",
        "refused: 004217",
        "refused: 004-217 for 0 0 4 2 1 7",
        "{'ann@example.org': (550, b'no such user')}",
        "to=ann%40example.org",
        "+1 (500) 555-0006 is not reachable",
    ],
)
def test_a_cause_tells_no_code_and_no_address(text: str) -> None:
    told = cause(RuntimeError(text))
    assert told.startswith("RuntimeError: ")
    for secret in ("004217", "004-217", "0 0 4 2", "ann", "15005550006", "555-0006"):
        assert secret not in told


@pytest.mark.parametrize("password", ["hunter2", "hun%20ter2", "hun+ter2", "hun=ter2", "hun'ter2", "hun@ter2"])
def test_a_cause_tells_no_password_of_a_server(password: str) -> None:
    told = cause(ConnectionError(f"Error connecting to redis://limits:{password}@cache:6379/0: refused"))
    assert "hun" not in told
    assert "ter2" not in told
    assert told.endswith("refused")


def test_a_cause_keeps_what_helps() -> None:
    assert (
        cause(ConnectionRefusedError(111, "Connection refused"))
        == "ConnectionRefusedError: [Errno 111] Connection refused"
    )


def test_a_cause_names_the_place_and_is_short() -> None:
    with pytest.raises(ValueError, match="x") as caught:
        int("x\n" * 5000)
    told = cause(caught.value)
    assert "test_delivery_senders.py:" in told
    assert "\n" not in told
    assert len(told) < 400


def test_a_cause_reads_a_long_text_without_delay() -> None:
    assert len(cause(RuntimeError("a" * 1_000_000))) < 400
