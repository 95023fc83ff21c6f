"""How gunicorn serves the bank in a container; read by ``gunicorn --config python:example_app.serving``."""

from __future__ import annotations

import os

# The app is made before there are workers: a fault in its settings ends the start, with one message and an exit code.
preload_app = True
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = 8
# It would be a socket in the home directory, which there is none of.
control_socket_disable = True
# The image's own file system may be read-only, and is slow to write to.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
