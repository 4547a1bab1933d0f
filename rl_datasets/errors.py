"""The exception whose message is meant for the user, and the words for what Python raises."""


class DatasetError(Exception):
    """Something that the user can fix.

    The message is one sentence that names the file, record or option at fault and says what to do.
    The command line prints it without a traceback and exits with status 1.
    """


def in_words(error: Exception) -> str:
    """Says what is wrong with a file of plain data, by the error that reading its values raised."""
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, TypeError | AttributeError):
        return "a value is of another kind than it should be"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
