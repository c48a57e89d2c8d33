"""Copy what a process prints to this process's stderr and to a file."""

import contextlib
import os
import shutil
import struct
import sys
import threading
from pathlib import Path

SHOW_CURSOR = b"\x1b[0m\x1b[?25h"  # a live display hides it, and a killed process leaves it so


class Relay:
    """Copies what is written to ``descriptor`` to stderr and to the end of a file.

    On a terminal ``descriptor`` is a terminal too, of the same size, so that the process shows its
    live display; elsewhere it is a pipe. Close ``descriptor`` here once the process has it.

    Attributes:
        descriptor: of the end that a process writes to.
    """

    def __init__(self, file: Path):
        self.on_terminal = sys.stderr.isatty() and os.name == "posix"
        self._source, self.descriptor = _terminal() if self.on_terminal else os.pipe()
        self._file = file
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def start(self) -> None:
        """Close ``descriptor``, and copy until all that have it have ended."""
        os.close(self.descriptor)
        self._thread.start()

    def wait(self) -> None:
        """Wait until everything is copied."""
        self._thread.join(timeout=5)
        if self.on_terminal:
            _write(SHOW_CURSOR)

    def _copy(self) -> None:
        # A terminal whose other end is closed raises, a pipe gives nothing.
        with self._file.open("ab", buffering=0) as log, contextlib.suppress(OSError):
            while found := os.read(self._source, 65536):
                _write(found)
                log.write(found)
        os.close(self._source)


def _write(content: bytes) -> None:
    stream = getattr(sys.stderr, "buffer", None)
    with contextlib.suppress(OSError):  # whoever read it is gone; the log has it
        if stream:
            stream.write(content)
        else:
            sys.stderr.write(content.decode(errors="replace"))
        sys.stderr.flush()


def _terminal() -> tuple[int, int]:
    """Return both ends of a new terminal of the size of this one, which changes no character."""
    import fcntl
    import termios
    import tty

    source, descriptor = os.openpty()
    tty.setraw(descriptor)
    columns, rows = shutil.get_terminal_size()
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return source, descriptor
