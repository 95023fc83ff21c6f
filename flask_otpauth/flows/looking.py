"""What a page shows of a challenge, when it is opened again: nothing is decided on it."""

from __future__ import annotations

import json
from typing import cast

from ..types import Issued, Purpose
from ..users.identifiers import mask
from .parts import Parts, carries


class Looking:
    """Looks at what is pending, and changes nothing."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def challenge(self, challenge_id: str) -> Issued:
        """
        Tell once more what the caller was told of his challenge; nothing is sent or taken.

        ``expires_at`` may be past, where another code may be asked for.

        Raises:
            CodeExpired: It is too late, and the flow has to be begun again.
            ChallengeGone: There is nothing to answer, whatever the reason.
        """
        now = self._parts.now()
        seen = self._parts.challenges.look(challenge_id, now)
        data: dict[str, object] = json.loads(seen.data)
        proved = bool(data["proved"])
        destination, methods = cast("tuple[str | None, list[str]]", data["shown"])
        # Where a stranger's code really goes, row and channel may say: he sees what was made of his own words.
        channel = seen.channel if proved else next(iter(methods), None)
        if proved and seen.destination is not None:
            destination = mask(carries(seen.channel), seen.destination)
        return Issued(
            challenge_id=challenge_id,
            purpose=seen.purpose,
            channel=channel,
            destination=destination,
            methods=tuple(methods),
            expires_at=min(seen.answers_until, seen.flow_expires_at),
            resend_at=seen.resend_at,
            attempts_left=seen.attempts_left,
            now=now,
            mfa_required=proved and seen.purpose is Purpose.LOGIN,
        )
