"""The OpenAPI 3.1 document of an app: made of its settings and of the schemas that check its requests."""

from .document import make_document
from .endpoints import OPERATIONS
from .hosts import HostView, Shown
from .merging import merge
from .operations import Facts, Operation, Success
from .places import Place, place_of
from .reshaping import Bodies

__all__ = [
    "OPERATIONS",
    "Bodies",
    "Facts",
    "HostView",
    "Operation",
    "Place",
    "Shown",
    "Success",
    "make_document",
    "merge",
    "place_of",
]
