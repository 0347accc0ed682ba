"""What can be wrong with data that a user named."""


class DataError(Exception):
    """Data that cannot be used. The message is one line: which file and where, what is required, what was found."""
