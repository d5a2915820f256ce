"""Fail the build on links within a page, ``[text](#heading)``, to a heading that it lacks.

MyST looks for such a target in the whole project, so it takes ``#tables`` for the page `tables`,
where a code host finds nothing.
"""

from sphinx import addnodes
from sphinx.util import logging

logger = logging.getLogger(__name__)


def check(app, doctree):
    """Warn of each link that MyST has not found on its own page."""
    for node in doctree.findall(addnodes.pending_xref):
        if node.get("reftype") != "myst" or node.get("refdomain") == "doc":
            continue
        target = node["reftarget"]
        if "." not in target:  # else a file that is not there: MyST says so itself
            logger.warning("no heading of this page: #%s", target, location=node, type="links")


def setup(app):
    """Register the check."""
    app.connect("doctree-read", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
