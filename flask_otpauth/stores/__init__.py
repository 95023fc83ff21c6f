"""Our state in the app's database: SQLAlchemy Core over connections of our own."""

from .challenges import SqlChallenges
from .clients import SqlClients
from .database import Database
from .events import SqlEvents
from .flags import SqlFlags
from .guard import SqlGuard
from .inspection import missing, server_time
from .membership import UserColumns
from .sessions import SqlSessions
from .tables import Tables, tables_for

__all__ = [
    "Database",
    "SqlChallenges",
    "SqlClients",
    "SqlEvents",
    "SqlFlags",
    "SqlGuard",
    "SqlSessions",
    "Tables",
    "UserColumns",
    "missing",
    "server_time",
    "tables_for",
]
