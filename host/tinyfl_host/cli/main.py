"""``tinyfl``: the table of verbs, and the one place where an exception becomes text and an exit code.

A command's module is imported when the command is called: ``tinyfl --help`` imports click and nothing heavy.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from tinyfl.errors import ConfigError, TinyflError
from tinyfl_host.cli import console

CLOSED = 141  # as a shell reports SIGPIPE: the reader of stdout went away
INTERRUPTED = 130
DISK = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "make it accessible to you, or name another",
    errno.EPERM: "make it accessible to you, or name another",
}


@dataclass(frozen=True)
class Verb:
    """A command: its one line of help, and its section. It lives in ``cli/<name>.py`` as ``command``."""

    name: str
    help: str
    section: str = "From model to report, in this order"


AROUND = "Around them"
VERBS = {
    verb.name: verb
    for verb in (
        Verb("train", "Train, prune and quantise a recipe's Keras model."),
        Verb("compile", "Turn a recipe or any int8 .tflite into C."),
        Verb("build", "Build the firmware for one board."),
        Verb("flash", "Write the firmware to a board."),
        Verb("emulate", "Boot one emulated board and print its link."),
        Verb("run", "Run federated rounds over boards."),
        Verb("evaluate", "Measure a run's model on the boards' test data."),
        Verb("report", "Write a run's report: HTML, CSV, JSON."),
        Verb("sweep", "Run a grid of settings, and compare what comes out.", AROUND),
        Verb("infer", "Run a model on a board: .npy in, .npy out.", AROUND),
        Verb("profile", "Count instructions, RAM and flash by layer.", AROUND),
        Verb("device", "List boards, ask one what it is, watch its frames.", AROUND),
        Verb("new", "Make a recipe folder for your own model and data.", AROUND),
        Verb("doctor", "Check what tinyfl needs, with the fix for each.", AROUND),
    )
}


class UnknownVerb(click.UsageError):
    """A command that is not in ``VERBS``; ``possibilities`` are those of a similar name."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"no command {name!r}", ctx)
        self.possibilities = difflib.get_close_matches(name, VERBS, n=1, cutoff=0.5)


class Verbs(click.Group):
    """The commands of ``VERBS``, imported only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"tinyfl_host.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.short_help = command.short_help or VERBS[cmd_name].help
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise UnknownVerb(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(verb.section for verb in VERBS.values()):
            with formatter.section(section):
                formatter.write_dl([(verb.name, verb.help) for verb in VERBS.values() if verb.section == section])


@click.command(
    cls=Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": console.WIDTH,
        "auto_envvar_prefix": "TINYFL",
    },
    epilog=console.examples(
        "tinyfl run models/har --on emu:qemu-m4 --boards 6",
        "tinyfl new plug && tinyfl train plug",
        "tinyfl COMMAND --help",
    ),
)
@click.version_option(package_name="tinyfl", message="tinyfl %(version)s")
def root() -> None:
    """Federated learning on microcontrollers: an int8 model in C that trains
    its last layer on the board, over any serial line.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (tinyfl.errors.EXIT_CODES)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    return guarded(lambda: root.main(arguments, prog_name="tinyfl", standalone_mode=False))


def guarded(action: Callable[[], Any]) -> int:
    """The exit code of ``action``, with what it raises turned into lines on stderr."""
    try:
        code = action()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        _silence_stdout()
        return CLOSED
    except SystemExit as stop:
        if "Pacify" in type(sys.stdout).__name__:  # click's own answer to a closed stdout
            return CLOSED
        console.problem(f"something called exit({stop.code})", "let the recipe's own code raise an exception instead")
        return ConfigError.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.problem("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: every exception becomes a line and a code
        return _explain(error)


def _explain(error: Exception) -> int:
    if os.environ.get("TINYFL_DEBUG"):
        traceback.print_exception(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and later: a group without a command
        print(str(error), file=sys.stderr)
        return 2
    if isinstance(error, click.ClickException):
        console.problem(_sentence(error), _usage_hint(error))
        return 2
    if isinstance(error, TinyflError):
        console.problem(error.message, error.hint)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in DISK:
        where = f"{error.filename}: " if error.filename else ""
        console.problem(f"{where}{os.strerror(error.errno)}", DISK[error.errno])
        return ConfigError.exit_code
    console.problem(f"unexpected {type(error).__name__}: {str(error) or 'no message'}", _where(error))
    return TinyflError.exit_code


def _where(error: Exception) -> str:
    """Where the traceback is: on the screen, or in a file of its own."""
    if os.environ.get("TINYFL_DEBUG"):
        return "this is a bug in tinyfl: please report it with the traceback above"
    try:
        handle, path = tempfile.mkstemp(prefix="tinyfl-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return "this is a bug in tinyfl: TINYFL_DEBUG=1 shows where"
    return f"this is a bug in tinyfl: please report it with {path} (TINYFL_DEBUG=1 shows it here)"


def _sentence(error: click.ClickException) -> str:
    """click's message the way ours are: no capital, no full stop, no suggestion (that is the hint's)."""
    text = error.message if not isinstance(error, click.MissingParameter) else error.format_message()
    text = text if not isinstance(error, click.BadParameter) else error.format_message()
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:]


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tinyfl"
    near = getattr(error, "possibilities", None)
    start = f"did you mean {' or '.join(sorted(near)[:3])}? " if near else ""
    return f"{start}{path} --help shows how"


def _silence_stdout() -> None:
    """Python flushes stdout again at exit: give it something that takes the bytes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
