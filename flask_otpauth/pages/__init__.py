"""The HTML pages: thin views that read a form, call one flow and show what came of it."""

from .hosts import log_in_browser
from .routing import PAGES, make_pages, missing_packages, page_route_faults

__all__ = ["PAGES", "log_in_browser", "make_pages", "missing_packages", "page_route_faults"]
