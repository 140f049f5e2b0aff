"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something that a user caused and can mend.

    The message is one line: what was got, what was expected, how to mend it.
    Scripts print it without a traceback and exit with status 2.
    """
