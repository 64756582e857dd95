"""Entry point ``i2ikd``: lazy import of commands; user errors end with one line on stderr and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from typing import Any

import click

from i2ikd.attribution import describe_error
from i2ikd.cli.ending import STOPPED, ended_by_signals
from i2ikd.cli.result import reserved_stdout
from i2ikd.engine.processes import SINGLE_PROCESS, PeerFailed, ProcessGroup, joined_processes, require_single_process
from i2ikd.errors import LONGEST_LINE, MOST_DETAILS, UserError, nearest, printable, shortened
from i2ikd.registry import default_registry

_DATA_PARALLEL = {"train", "distill"}
"""Commands that may run in several processes (torchrun)."""

_USER_ERRNO = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
"""Operating-system errors that a user can resolve; they are reported without traceback."""


class Commands(click.Group):
    """Click group of the registered commands of core and plugins; ``--help`` does not import them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the registered commands."""
        return [component.name for component in default_registry().components("command")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; during shell completion an unavailable command is ignored.

        Raises:
            UserError: an unknown command, or one that cannot be imported.
        """
        try:
            return self._import(ctx, cmd_name)
        except UserError:
            if ctx.resilient_parsing:
                return None
            raise

    def _import(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Resolve a command by name; the core's commands take precedence over equal names of plugins."""
        names = self.list_commands(ctx)
        if cmd_name.rpartition(":")[2] not in names:
            raise UserError(f"unknown command {cmd_name!r}; {nearest(cmd_name, names)}")
        shadowed = names.count(cmd_name) > 1 and cmd_name in _core_commands()
        component = default_registry().get("command", f"builtin:{cmd_name}" if shadowed else cmd_name)
        if component.plugin.name == "builtin" and component.name not in _DATA_PARALLEL:
            require_single_process(f"i2ikd {component.name}")
        command = component.resolve()
        if not isinstance(command, click.Command):
            raise UserError(
                f"command {cmd_name!r} of {component.plugin.label}: expected a click.Command, "
                f"got {type(command).__name__}"
            )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their registered summaries."""
        rows = [(component.name, component.summary) for component in default_registry().components("command")]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _core_commands() -> set[str]:
    """Return the core's command names; a plugin's command of such a name is called as ``plugin:name``."""
    return {c.name for c in default_registry().components("command") if c.plugin.name == "builtin"}


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="i2ikd")
def cli() -> None:
    """Distil a large image-to-image network into a small one, compare distillation methods, deploy the student."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process.

    Exit codes: 0 for success, 1 for a closed pipe, 2 for a user error, 130 for an interruption.

    Args:
        arguments: command-line arguments; ``sys.argv[1:]`` when ``None``.
    """
    with ended_by_signals():
        sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; of several processes (torchrun) only one prints the error.

    Args:
        arguments: command-line arguments; ``sys.argv[1:]`` when ``None``.

    Returns:
        The exit code: 0, 1, 2 or 130, see ``main``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        with joined_processes() as group:
            return _run(arguments, group)
    except UserError as error:
        return _report(error, SINGLE_PROCESS)


def _run(arguments: list[str] | None, group: ProcessGroup) -> int:
    """Run one process's command and translate exceptions into exit codes."""
    try:
        stated = sys.argv[1:] if arguments is None else arguments
        with reserved_stdout() if "--json" in stated else contextlib.nullcontext():
            result: Any = cli.main(args=arguments, prog_name="i2ikd", standalone_mode=False, obj=group)
        return result if isinstance(result, int) else 0
    except PeerFailed:
        return 2
    except UserError as error:
        return _report(error, group)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.Abort:
        if group.first_to_fail():
            click.echo("i2ikd: stopped", err=True)
        return STOPPED
    except click.ClickException as error:
        return _report(UserError(error.format_message()), group)
    except BrokenPipeError:
        group.first_to_fail()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in _USER_ERRNO:
            return _report(UserError(f"{error.filename or 'a file'}: {error.strerror}"), group)
        return _report_unexpected(error, group)
    except RuntimeError as error:
        if str(error).startswith("Symlink loop from "):  # pathlib's error for a path that leads to itself
            return _report(UserError(f"{str(error)[18:]}: a loop of symbolic links; pass the file itself"), group)
        return _report_unexpected(error, group)
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        if _is_of_console(error) and isinstance(error.code, int):  # after a completion, or a closed pipe
            group.first_to_fail()
            return error.code
        return _report_unexpected(error, group)
    except BaseException as error:  # of a plugin or a library
        return _report_unexpected(error, group)


def _is_of_console(error: BaseException) -> bool:
    """Whether click or rich itself raised an exception, not a command."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") in ("click.core", "rich.console")


def _report_unexpected(error: BaseException, group: ProcessGroup) -> int:
    """Print an exception that no message was written for as one line with the plugin that raised it."""
    if os.environ.get("I2IKD_TRACEBACK") == "1":
        traceback.print_exception(error)
    return _report(UserError(describe_error(error, default_registry())), group)


def _report(error: UserError, group: ProcessGroup) -> int:
    """Print an error as one line and at most 10 details, in the first process that fails; return exit code 2."""
    if group.first_to_fail():
        start = "i2ikd: error: "
        lines = [start + shortened(str(error), LONGEST_LINE - len(start))]
        lines += [f"  {shortened(text, LONGEST_LINE - 2)}" for text in error.details]
        if len(error.details) > MOST_DETAILS:
            lines[MOST_DETAILS + 1 :] = [f"  and {len(error.details) - MOST_DETAILS} more"]
        for line in lines:
            click.echo(printable(line), err=True)
    return 2
