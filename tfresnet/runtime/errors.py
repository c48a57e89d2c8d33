"""The one exception that means "the user can mend this", and how it is worded."""

import difflib
from collections.abc import Iterable

LONGEST = 900  # characters of a message


class InputError(ValueError):
    """Bad usage or bad input: one line that says what was expected, what was got and what to do.

    The command line prints it without a traceback and exits with 2. What a file or a name brings
    into the line can neither break it nor steer a terminal.
    """

    def __init__(self, message: str):
        text = message.encode(errors="replace").decode()  # of names that are no text
        line = "".join(c if c.isprintable() else " " for c in text)
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...")


def unknown(kind: str, got: str, known: Iterable[str], expected: str = "") -> InputError:
    """Return the error for a name that is not in ``known``, with the closest match if any.

    ``expected`` stands for the names where they are too many to list.
    """
    names = list(known)
    close = difflib.get_close_matches(got, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InputError(
        f"unknown {kind} {got!r}: {hint}expected {expected or 'one of ' + ', '.join(names)}"
    )
