"""A module of an environment that imports what is not installed."""

import no_such_module  # noqa: F401
