"""The use cases. All signals are sent from here; a session is opened in one place, ``completion``."""
