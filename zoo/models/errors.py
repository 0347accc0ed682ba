"""What can be wrong with a base that a spec names."""


class BackboneError(Exception):
    """A base that cannot be had or used. The message is one line: which, what is required, what was got, what to do."""
