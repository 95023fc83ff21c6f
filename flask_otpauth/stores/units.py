"""One try of a unit of work."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection

logger: logging.Logger = logging.getLogger("flask_otpauth")


class Unit:
    """
    A transaction that begins at its first use.

    Attributes:
        actions: What undoes, once it is over, what its rollback doesn't; none after a commit.
    """

    __slots__ = ("_connect", "actions", "committing", "connection")

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self.connection: Connection | None = None
        self.committing: bool = False
        self.actions: list[Callable[[], object]] = []

    def open(self) -> Connection:
        if self.connection is None:
            self.connection = self._connect()
        return self.connection

    def commit(self) -> None:
        if self.connection is not None:
            self.committing = True
            self.connection.commit()
        self.actions.clear()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    def take_back(self) -> None:
        """Run the actions, the last one first; one that fails keeps none from running."""
        for action in reversed(self.actions):
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a store of the host may raise anything
                # Its name alone: the text of the error may hold an address.
                logger.error("Undoing a unit of work that failed: %s", type(error).__name__)  # noqa: TRY400
