"""How Sphinx builds the documentation. `make docs` runs it over what docs/build.py has put together."""

from __future__ import annotations

import swatcost

project = "swatcost"
author = "The swatcost authors"
version = release = swatcost.__version__
language = "en"
html_title = f"swatcost {version}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "docs.making.mathml", "docs.making.references"]

exclude_patterns = ["generated/*"]  # parts of other pages

# Every internal reference must resolve. Names from other packages stay plain text: the build fetches nothing.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!swatcost\b).*")]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # they are shown as they are committed; `make notebooks` runs and compares them

smartquotes = False  # the -- of an option is not a dash

default_role = "code"  # docstrings write `name`
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_static_path = ["style"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "default"
pygments_dark_style = "github-dark"
