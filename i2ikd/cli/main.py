"""``i2ikd``: commands are looked up by name and imported when called; errors end as one line and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from i2ikd.engine.processes import SINGLE_PROCESS, PeerFailed, ProcessGroup, joined_processes, require_single_process
from i2ikd.errors import UserError, nearest
from i2ikd.registry import default_registry

_TOGETHER = {"train", "distill"}
_SPEAKING = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM}


class Commands(click.Group):
    """The registered commands, of the core and of plugins; help does not import them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names."""
        return [component.name for component in default_registry().components("command")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; while a shell completes a line, one that cannot be had is passed over in silence."""
        try:
            return self._imported(ctx, cmd_name)
        except UserError:
            if ctx.resilient_parsing:
                return None
            raise

    def _imported(self, ctx: click.Context, cmd_name: str) -> click.Command:
        names = self.list_commands(ctx)
        if cmd_name.rpartition(":")[2] not in names:
            raise UserError(f"there is no command {cmd_name!r}; {nearest(cmd_name, names)}")
        shadowed = names.count(cmd_name) > 1 and cmd_name in _own_commands()
        component = default_registry().get("command", f"builtin:{cmd_name}" if shadowed else cmd_name)
        if component.plugin.name == "builtin" and component.name not in _TOGETHER:
            require_single_process(f"i2ikd {component.name}")
        command = component.resolve()
        if not isinstance(command, click.Command):
            raise UserError(f"the command {cmd_name!r} of a plugin is a {type(command).__name__}, not a click.Command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their registered summaries."""
        rows = [(component.name, component.summary) for component in default_registry().components("command")]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _own_commands() -> set[str]:
    """Names that a plugin cannot take away: its own command of that name is reached as ``plugin:name``."""
    return {c.name for c in default_registry().components("command") if c.plugin.name == "builtin"}


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="i2ikd")
def cli() -> None:
    """Distil a large image-to-image network into a small one, compare ways of doing it, deploy the student."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 2 for a user's error, 130 when interrupted."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; of several processes (torchrun) one speaks."""
    try:
        with joined_processes() as group:
            return _run(arguments, group)
    except UserError as error:
        return _say(str(error), SINGLE_PROCESS)


def _run(arguments: list[str] | None, group: ProcessGroup) -> int:
    try:
        result: Any = cli.main(args=arguments, prog_name="i2ikd", standalone_mode=False, obj=group)
        return result if isinstance(result, int) else 0
    except PeerFailed:
        return 2
    except UserError as error:
        return _say(str(error), group)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.Abort:
        if group.first_to_fail():
            click.echo("i2ikd: stopped", err=True)
        return 130
    except click.ClickException as error:
        return _say(error.format_message(), group)
    except BrokenPipeError:
        group.first_to_fail()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in _SPEAKING:
            return _say(f"{error.filename or 'a file'}: {error.strerror}", group)
        group.first_to_fail()
        raise
    except Exception:
        group.first_to_fail()
        raise


def _say(message: str, group: ProcessGroup) -> int:
    if group.first_to_fail():
        click.echo("i2ikd: error: " + " ".join(message.split()), err=True)
    return 2
