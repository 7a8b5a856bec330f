"""Every error a user can cause, drawn as a tree; each branch is one exit code of the command line.

    MetaBaselineError                    exit
    ├── UsageError                         2   options that do not make a study
    │   └── UnknownLayerError                  a layer name that the network does not have
    ├── InputError                         3   a file or folder that cannot be used
    │   ├── CheckpointError                    missing, damaged, unsafe, or of no known network
    │   └── StimulusError                      missing, empty, or undecodable images
    ├── EnvironmentProblem                 4   device, disk, permission, memory
    └── OutputFolderError                  5   busy, or holding the results of other inputs

The command line prints one line, ``error: <what and where>. <what to do>``; so a message of this tree is one line,
names the file or value, says what was found, and ends with what to do.
"""


def in_one_line(text: str) -> str:
    """Text that may hold names of files of others, as one line without control characters: those are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


class MetaBaselineError(Exception):
    """An error with an exit code; its message is the one line that the user reads."""

    exit_code = 70


class UsageError(MetaBaselineError, ValueError):
    """Options or arguments that do not fit together."""

    exit_code = 2


class UnknownLayerError(UsageError):
    """A layer name that the network does not have; the message lists those that it has."""


class InputError(MetaBaselineError, ValueError):
    """A file or folder that cannot be used."""

    exit_code = 3


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged, unsafe, or fits no known network."""


class StimulusError(InputError):
    """Stimuli that are missing, empty, one-sided or undecodable; names of their files are made printable."""

    def __init__(self, message: str) -> None:
        super().__init__(in_one_line(message))


class EnvironmentProblem(MetaBaselineError, RuntimeError):
    """The machine cannot do it: device, disk, permission or memory."""

    exit_code = 4


class OutputFolderError(MetaBaselineError, RuntimeError):
    """The output folder is in use, or holds the results of other inputs."""

    exit_code = 5
