"""What every command shares: a parser with one-line errors, progress bars, exit codes, signals.

The exit codes are part of the interface: 0 done, 2 usage, 3 bad input, 4 environment, 5 output folder, 6 finished but
at least one analysis failed, 70 a bug of ours, 130 and 143 for SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from meta_baseline.errors import MetaBaselineError

_T = TypeVar("_T")
_LOG = logging.getLogger("meta_baseline")
# Without a handler of its own, Python would print errors and their tracebacks to stderr while no log file is set up.
_LOG.addHandler(logging.NullHandler())


class Terminated(BaseException):
    """SIGTERM, as an exception, so that temporary folders are removed on the way out."""


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line and exit 2."""

    def error(self, message: str) -> NoReturn:
        """Print one line that names the mistake and where to find help."""
        self.exit(2, f"error: {message[0].upper()}{message[1:]}. See {self.prog} --help.\n")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Paragraphs as they are written, options in one column, defaults spelled out in their own words."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def show_progress(iterable: Iterable[_T], *, desc: str = "", **options: Any) -> Iterator[_T]:
    """Iterate with a progress bar on stderr; without one where stderr is no terminal."""
    return iter(tqdm(iterable, desc=desc, disable=None, leave=False, dynamic_ncols=True, file=sys.stderr, **options))


def say(line: str = "") -> None:
    """One line for the person at the terminal, on stdout; above a progress bar if one is running."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def run_guarded(action: Callable[[], int], *, debug: bool = False) -> int:
    """Run a command and turn whatever ends it into one line on stderr and an exit code.

    With ``debug`` the traceback is shown; without, it goes to the log file that the command has set up, if any.
    """
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        return action()
    except MetaBaselineError as error:
        return _report(str(error), error, error.exit_code, debug)
    except KeyboardInterrupt:
        return _report("Interrupted. Run the same command again to continue where it stopped.", None, 130, False)
    except Terminated:
        return _report("Terminated. Run the same command again to continue where it stopped.", None, 143, False)
    except MemoryError as error:
        line = "Out of memory. Use fewer images (--max-images) or a machine with more memory."
        return _report(line, error, 4, debug)
    except BrokenPipeError:
        # Whoever reads the output has had enough, as `head` does. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}:
            where = f" ({error.filename})" if error.filename else ""
            line = f"{error.strerror}{where}. Free some space or choose another folder with --output-dir."
            return _report(line, error, 4, debug)
        return _report(_bug_line(error), error, 70, debug)
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever gets here is a bug of ours and says so
        return _report(_bug_line(error), error, 70, debug)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _bug_line(error: BaseException) -> str:
    return (
        f"This is a bug in meta_baseline ({type(error).__name__}: {' '.join(str(error).split())}). "
        "Please report it with log.txt, or run again with --debug to see where it happened."
    )


def _report(line: str, error: BaseException | None, code: int, debug: bool) -> int:
    if error is not None:
        _LOG.error("%s", line, exc_info=error)
        if debug:
            sys.excepthook(type(error), error, error.__traceback__)
    sys.stderr.write(f"error: {line}\n")
    return code


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
