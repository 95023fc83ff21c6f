"""Processes for races: forks of a server that has imported what they need once, and holds nothing open."""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "flask_otpauth",
        "pymysql",
        "psycopg",
        "sqlalchemy.dialects.mysql",
        "sqlalchemy.dialects.postgresql",
        "tests.contracts.backends",
    ]
)
"""``spawn`` would import it all in each process: some seconds of work for tenths of one."""
