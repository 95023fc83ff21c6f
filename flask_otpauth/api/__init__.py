"""The JSON interface: thin views that parse, call one flow and answer."""

from .documents import DESCRIBED, DocumentHooks, Documents, DocumentShaper
from .hosts import current_caller, respond_to_login
from .routing import ENDPOINTS, make_blueprint, route_faults, taken_paths

__all__ = [
    "DESCRIBED",
    "ENDPOINTS",
    "DocumentHooks",
    "DocumentShaper",
    "Documents",
    "current_caller",
    "make_blueprint",
    "respond_to_login",
    "route_faults",
    "taken_paths",
]
