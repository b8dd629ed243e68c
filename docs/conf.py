"""How the documentation is built: `nox -s docs`."""

from edgeagent import __version__

project = "edgeagent"
author = "The edgeagent authors"
copyright = "2026, the edgeagent authors"  # noqa: A001 -- the name is Sphinx's
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "edgeagent"
myst_heading_anchors = 3
autodoc_typehints = "description"
nitpicky = False
