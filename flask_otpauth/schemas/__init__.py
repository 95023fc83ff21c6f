"""
The gate for request bodies: JSON, then strict schemas, built once per app.

Nothing is converted, nothing unknown is let through, and no error carries what was sent. Fields have their wire
names (``OTPAUTH_FIELD_NAMES``) in requests and in errors, and their own names in what comes out.
"""

from .json_text import is_clean, parse_json
from .names import name_faults
from .requests import MAX_ERRORS, Schemas

__all__ = ["MAX_ERRORS", "Schemas", "is_clean", "name_faults", "parse_json"]
