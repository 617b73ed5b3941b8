"""How Sphinx builds these pages: `make docs`."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = _PROJECT["name"]
release = version = _PROJECT["version"]
author = "The cinebold developers"
project_copyright = author

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "alabaster"
html_theme_options = {
    "description": "Voxelwise encoding models of films, as a BIDS-App",
    "fixed_sidebar": True,
    "page_width": "1100px",
}
html_show_sourcelink = False
