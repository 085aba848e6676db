"""The one error that is meant for users."""


class RetuneError(Exception):
    """Something a user can mend: the message names value, place, limit and remedy, in a sentence or two.

    Stages and the command line print it without a traceback and exit with 1.
    """
