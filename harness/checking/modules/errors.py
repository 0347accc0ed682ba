"""Mistakes in naming a module or in the module itself."""

from cortexzoo.harness.errors import UserError


class ModuleError(UserError):
    """A module that cannot be tested at all. The message is one line that states what is required."""


class UnfitOutput(TypeError):
    """A module returned no output for each token. The message states what is required and what was got."""
