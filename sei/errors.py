"""Errors that a person is meant to read.

Purpose: one exception type for everything a user can cause and mend (a typo, a missing file, a model that
does not fit). `train.py` prints its message without a traceback; every other exception is a bug of ours.
Place in the flow: raised anywhere, caught once in `train.py` and in the `python -m sei.*` commands.

Example::

    raise UserError("data.path=/tmp/x: no such folder. Give a folder that holds train.jsonl and test.jsonl.")
"""

from __future__ import annotations

import re
import signal

# A terminal obeys these: they move the cursor, clear the screen, set its title. Line breaks and tabs do no harm. A half of a
# surrogate pair, which a model's JSON may hold, is no character and could not be written at all.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with a terminal's control characters as escapes that are seen (`\\x1b`) and not obeyed."""
    return _CONTROL.sub(lambda match: (r"\x{:02x}" if match[0] < "\u0100" else r"\u{:04x}").format(ord(match[0])), text)


class UserError(Exception):
    """What is wrong, where, and what to do about it; shown to the user as it is, whatever outside text it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Ended(KeyboardInterrupt):
    """A signal asked this process to end: whatever Ctrl-C ends in good order, this does too."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Ended by {signal.Signals(number).name}. Run the same command to resume.")
        self.number = number


def missing_extra(package: str, extra: str, needed_for: str) -> UserError:
    """The error for an optional dependency that is not installed, naming the command that installs it."""
    return UserError(
        f"{needed_for} needs the package '{package}', which is not installed. "
        f'Install it with: pip install -c constraints.txt -e ".[{extra}]"'
    )
