"""How Sphinx builds the documentation: see docs/architecture.md for the command."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))  # the checkout is what is documented

import kipsk  # noqa: E402

project = "kipsk"
copyright = "kipsk developers"
version = release = kipsk.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    # our own, in _ext
    "coverage_check",
    "mathml",
    "own_headings",
    "own_members",
]
templates_path = ["_templates"]
# Pages of the gallery are the .rst files; what it leaves beside them is for download.
exclude_patterns = ["_build", "gallery/**.md5", "gallery/**.ipynb", "gallery/**.py"]
nitpicky = True
# Single backticks are code, and links where they name something of kipsk.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", r"(?!kipsk\b).*")]

# Pages are Markdown that also reads well on a code host.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

toc_object_entries_show_parents = "hide"

# Docstrings are numpydoc.
autosummary_generate = True
autodoc_typehints = "none"  # types stand in the docstrings, with shapes
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_use_plots = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"(^|[/\\])(?!plot_)[^/\\]*\.py$",  # scripts for the command line
    "ignore_repr_types": r"matplotlib\.|kipsk\.plotting|kipsk\._displays",
    "within_subsection_order": "FileNameSortKey",
    "nested_sections": False,
    "abort_on_example_error": False,  # -W turns a failure into one of the build's, after all ran
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
}

highlight_language = "none"  # an indented block is a formula; doctests and fences say what they are

html_theme = "pydata_sphinx_theme"
html_title = "kipsk"
html_static_path = ["_static"]
html_css_files = ["kipsk.css"]
html_math_renderer = "mathml"  # no script from elsewhere: a page needs no network
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "results": [], "results_tables": [], "architecture": []}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_exclude = ".linenos, .gp, .go"
