"""Mistakes in naming a module or in the module itself."""


class ModuleError(Exception):
    """A module that cannot be tested at all. The message is one line that says what is required."""


class UnfitOutput(TypeError):
    """What a module returned holds no output for each token. The message says what is required and what was got."""
