"""How Sphinx builds the documentation: see docs/contributing.md for the command."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))  # the checkout is what is documented

from sphinx_gallery.sorting import ExplicitOrder  # noqa: E402

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
    # extensions of kipsk, in _ext
    "coverage_check",
    "own_headings",
    "own_members",
    "own_names",
]
templates_path = ["_templates"]
# The pages of the gallery are its .rst files. The files beside them are for download.
exclude_patterns = ["_build", "gallery/**.md5", "gallery/**.ipynb", "gallery/**.py"]
nitpicky = True
# Single backticks are code, and become links if they name something of kipsk. Names of parameters
# are no links; `own_names` checks the names that may be classes.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", r"(?!kipsk\b).*")]

# Pages are Markdown that can also be read on a code host.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

toc_object_entries_show_parents = "hide"

# Docstrings are numpydoc.
autosummary_generate = True
autodoc_typehints = "none"  # types stand in the docstrings, with shapes
numpydoc_show_class_members = False  # the template of a class lists its members
numpydoc_use_plots = False
# The sections are in order, every parameter of a public name is described, in order, and so is what
# is returned.
numpydoc_validation_checks = {"GL07", "PR01", "PR02", "PR03", "PR07", "RT01", "SA04"}
numpydoc_validation_exclude = {
    # Comments describe the fields of named tuples.
    r"\.(Compression|DistanceToTraining|Folder|Images|Worth)$",
    # The base classes of kernels and augmentations describe these methods.
    r"^kipsk\.kernels\.\w+\.(for_prediction|function|is_stationary|resolve)$",
    r"^kipsk\.augment\.\w+\.(change|needs_images|with_targets)$",
}

# The examples in the order of the gallery, easy questions first.
ORDER = (
    "moons",
    "support",
    "run",
    "table",
    "kernels",
    "reg",
    "label_solve",
    "regression",
    "comparison",
    "downstream",
    "network",
    "calibration",
    "dimension",
    "augment",
    "whitening",
    "stream",
    "moments",
)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"(^|[/\\])(?!plot_)[^/\\]*\.py$",  # scripts for the command line
    "ignore_repr_types": r"matplotlib\.|kipsk\.plotting",
    "within_subsection_order": ExplicitOrder([f"plot_{name}.py" for name in ORDER]),
    "nested_sections": False,
    # Pages of public names list the examples that use them.
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("kipsk",),
    "abort_on_example_error": False,  # the build fails after all examples have run
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib", "gallery_colours.suit_both_themes"),
}

highlight_language = "none"  # indented blocks are formulas; doctests and fences name their language

html_theme = "pydata_sphinx_theme"
html_title = f"kipsk {release}"
html_static_path = ["_static"]
html_css_files = ["kipsk.css"]
html_js_files = ["tables.js"]
html_copy_source = False
html_show_sourcelink = False
WITHOUT_SIDEBAR = ("index", "results", "results/*", "contributing", "architecture")
html_sidebars = {name: [] for name in WITHOUT_SIDEBAR}
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
