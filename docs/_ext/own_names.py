"""Link names such as `KIPDistiller` on every page, and fail the build on one that does not exist.

Sphinx itself finds a name of kipsk only within the module of the name. Names that do not begin with
a capital may be parameters, and are left alone.
"""

import pydoc
import re

from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

CLASS = re.compile(r"(\w+\.)*[A-Z]+[a-z][A-Za-z]*(\.\w+)?")


def resolve(app, env, node, contnode):
    """Return a link to the only public name that ends like this, or warn about the name."""
    target = node["reftarget"]
    if node.get("refdomain") != "py" or not CLASS.fullmatch(target):
        return None
    objects = env.get_domain("py").objects
    found = [name for name in objects if name.endswith(f".{target}") and "._" not in name]
    if len(found) == 1:
        place = objects[found[0]]
        return make_refnode(
            app.builder, node["refdoc"], place.docname, place.node_id, contnode, found[0]
        )
    if found or pydoc.locate(target) is None:  # names of other packages are given with a module
        reason = f"several names end like this: {found}" if found else "there is no such name"
        logger.warning("`%s`: %s", target, reason, location=node, type="names")
    return None


def setup(app):
    """Register the rule."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
