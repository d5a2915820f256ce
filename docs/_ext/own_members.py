"""Leave out members that are not written in kipsk: scikit-learn's methods, fields of tuples."""

import inspect


def skip(app, what, name, obj, skip, options):
    """Return True to leave a member from elsewhere out, and None to let autodoc decide."""
    if what != "class":
        return None
    if isinstance(obj, property):
        obj = obj.fget
    home = getattr(inspect.unwrap(obj) if callable(obj) else obj, "__module__", None) or ""
    return None if home.startswith("kipsk.") else True


def setup(app):
    """Register the rule."""
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
