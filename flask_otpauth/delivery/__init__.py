"""Sending: texts, senders, the threads that carry messages, and the courier that joins them."""

from .courier import Post
from .dispatch import Dispatcher, Inline, Threads
from .gateway import HttpSender
from .senders import ConsoleSender, FunctionSender, Inbox, adapt, shown
from .setup import mail_sender, mail_settings, smtp_from_config
from .smtp import SmtpSender
from .texts import TEMPLATES, Texts, in_words

__all__ = [
    "TEMPLATES",
    "ConsoleSender",
    "Dispatcher",
    "FunctionSender",
    "HttpSender",
    "Inbox",
    "Inline",
    "Post",
    "SmtpSender",
    "Texts",
    "Threads",
    "adapt",
    "in_words",
    "mail_sender",
    "mail_settings",
    "shown",
    "smtp_from_config",
]
