"""The exception whose message is meant for the user."""


class DatasetError(Exception):
    """Something that the user can fix.

    The message is one sentence that names the file, record or option at fault and says what to do.
    The command line prints it without a traceback and exits with status 1.
    """
