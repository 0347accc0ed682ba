"""Mistakes in naming a module or in the module itself."""

from cortexzoo.harness.errors import UserError


class ModuleError(UserError):
    """A module that cannot be tested at all. The message is one line that says what is required."""


class UnfitOutput(TypeError):
    """What a module returned holds no output for each token. The message says what is required and what was got."""
