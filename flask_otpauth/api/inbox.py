"""The development inbox as a page: plain HTML, no script, for the machine that runs the app only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from flask import Request
from markupsafe import Markup

from ..types import Message

PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP")

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]+)?")

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{style}<title>Development inbox</title>
</head>
<body class="otpauth-inbox">
<main>
<h1>Development inbox</h1>
<p>{count} in this process, newest first. Nothing was really sent. <a href="">Reload</a></p>
{messages}
</main>
</body>
</html>
""")
_MESSAGE = Markup("""<article data-channel="{channel}" data-to="{to}"{code_mark}>
<h2>{channel} to {to}</h2>
<dl>
<dt>Purpose</dt><dd>{purpose}</dd>
{rows}</dl>
<pre>{body}</pre>
</article>
""")
_ROW = Markup('<dt>{name}</dt><dd class="{kind}">{value}</dd>\n')
_STYLE = Markup('<link rel="stylesheet" href="{address}">\n')


def is_local(request: Request, server_name: str | None) -> bool:
    """
    Tell whether the request comes from this very machine, without a proxy in between.

    The host that it names must be this machine too: a page elsewhere can make its own name point here (DNS
    rebinding), but a browser then sends that name.
    """
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    return _is_loopback(request.remote_addr) and _names_loopback(request.host, server_name)


def inbox_page(messages: Iterable[Message], style: str | None = None) -> str:
    """
    Render the messages; everything in them is escaped, and each code stands in ``data-code`` too.

    ``style`` is the address of a style sheet; None for plain HTML.
    """
    shown = [_article(message) for message in messages]
    count = "No messages" if not shown else f"{len(shown)} message{'s' if len(shown) > 1 else ''}"
    link = Markup() if style is None else _STYLE.format(address=style)
    return str(_PAGE.format(count=count, style=link, messages=Markup("").join(shown)))


def _article(message: Message) -> Markup:
    facts = {
        "Code": message.code,
        "Valid until": message.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC") if message.expires_at else None,
        "Subject": message.subject,
    }
    rows = [_ROW.format(name=name, kind=name.split()[0].lower(), value=value) for name, value in facts.items() if value]
    return _MESSAGE.format(
        channel=message.channel,
        to=message.to,
        purpose=message.purpose,
        code_mark=Markup(' data-code="{}"').format(message.code) if message.code else "",
        rows=Markup("").join(rows),
        body=message.body,
    )


def _is_loopback(address: str | None) -> bool:
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _names_loopback(host: str, server_name: str | None) -> bool:
    found = _HOST.fullmatch(host.lower())
    name = (found[1] or found[2]) if found else ""
    known = server_name is not None and host == server_name
    return known or name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
