"""Fail the build on a link within a page, ``[text](#heading)``, whose heading the page lacks.

MyST looks for such a target in the whole project, so it takes ``#tables`` for the page `tables`. A
code host finds nothing there.
"""

from sphinx import addnodes
from sphinx.util import logging

logger = logging.getLogger(__name__)


def check(app, doctree):
    """Warn about each link whose target MyST has not found on the page of the link."""
    for node in doctree.findall(addnodes.pending_xref):
        if node.get("reftype") != "myst" or node.get("refdomain") == "doc":
            continue
        target = node["reftarget"]
        if "." not in target:  # MyST itself warns about a file that is missing
            logger.warning("no heading of this page: #%s", target, location=node, type="links")


def setup(app):
    """Register the check."""
    app.connect("doctree-read", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
