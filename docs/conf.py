"""How the documentation is built: ``sphinx-build -E -W -n -b dirhtml docs docs/_build``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Flask-OTPAuth"
author = "The Flask-OTPAuth authors"
project_copyright = "The Flask-OTPAuth authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "generated"]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "Flask-OTPAuth"
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# No inventory of another project is fetched: their names stay plain text.
nitpick_ignore_regex = [("py:.*", r"(?!flask_otpauth\.).*")]
