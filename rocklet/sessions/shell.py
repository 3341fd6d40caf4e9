r"""One shell process: bash on a PTY, told what to do through a channel that its commands never see.

The shell is interactive (job control, SIGINT back to the top level) but its fd 0 is one end of a socket pair, so that
commands come over the socket, of any length and never through the TTY.  Each is sent as

    { \builtin printf '\1%s %s\n' NONCEb "$?"; } >&0 2>&0; \builtin eval '...' <TERMINAL; { ... NONCEa ... } >&0 2>&0

    { ... NONCEz ... } >&0 2>&0

What it runs has the terminal as its stdin, by its own name, since gVisor's /dev/tty cannot be opened; the printf, a
builtin at the top level, has the socket.  If the command is aborted by SIGINT, bash drops the rest of the first line
and the last line tells the status; the empty line in between ends what a syntax error leaves in bash's parser.  The
nonce is new each time, so a forged mark is ignored.

A SIGINT that comes while bash reads makes it drop what it has of the line, and run the rest as a line of its own.  So
none is sent before the mark `b` tells that the command was read whole; and the marks that are sent again behind a
SIGINT begin with what ends any quotation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess

import msgspec

from rock.wire.errors import InvalidRequest
from rocklet.descriptors import Inlet, Outlet
from rocklet.processes import Child, Children, group_members, is_newborn, signal_group, signal_process
from rocklet.sessions.output import Expectation, Output
from rocklet.sessions.pty import Terminal
from rocklet.surroundings import Surroundings
from rocklet.waiting import wait_first

__all__ = ["Flavor", "Shell", "find_flavor", "frame_command"]

_IDLE_OUTPUT = 2**20  # bytes kept of what background jobs print between commands
_MARK = b"\1"  # begins a mark, whatever noise stands before it; a newline would cost bash a write of its own
_MARK_SIZE = 64  # bytes; a line that is longer is none
_READ_TIMEOUT = 1.0  # seconds for a shell to read a command that is to be ended before it has begun
_KILL_GRACE = 1.0  # seconds from the kill of a command to that of its shell; a loaded machine takes its time
_LOOK_AGAIN = 0.05  # seconds after which a Ctrl-C may have missed what is in the foreground now
_RESYNC_TIMEOUT = 0.1  # seconds until a mark that an interrupt may have swallowed is sent again
_RESYNC_TRIES = 10
_RESYNC_INTERRUPTS = 5  # tries at which what is left in the foreground is asked before it is killed
_UNQUOTE = ": \\''\"\\' >&0 2>&0"
"""A command that does nothing: outside of quotes and inside of either, the parser is outside of them behind it."""


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """A shell that can run a session."""

    name: str
    argv: list[str]
    builtin: str
    """The prefix that reaches a builtin past aliases and functions."""
    quiet: str
    """Empties every prompt; run after each command, because commands may set them."""
    mend: str = ""
    """Brings back the builtins that marks are made of, should a command have hidden them; that counts as a failure."""
    script: list[str]
    """The arguments ahead of a script that is to be run whatever the environment names to be read first."""
    preparation: str = ""
    """What a session runs first."""
    warnings: list[str] = []
    """What callers who count on bash have to know."""


_BASH = Flavor(
    name="bash",
    argv=["--noprofile", "--norc", "--noediting", "+o", "history", "+H", "-i"],
    builtin="\\builtin ",
    quiet="PS1= PS2= PS0= PROMPT_COMMAND=()",
    # A prompt tells whether printf was reached: neither an assignment nor a keyword can be hidden by a function
    # (`builtin() { :; }`) or by `enable -n`; not [[, which a syntax error in one leaves unusable.  In POSIX mode, which
    # an assignment begins, nor can unset.
    mend=(
        "PS0=hidden; \\builtin printf -v PS0 ''; case $PS0 in hidden) POSIXLY_CORRECT=; \\unset -f builtin enable; "
        "\\unset POSIXLY_CORRECT; \\enable builtin eval printf; \\builtin false; esac; "
    ),
    script=["--norc", "-p", "-c"],  # with a socket as its stdin it would take itself for a remote shell
)
# `command` also keeps an error inside eval from ending the line, which sh would drop together with the next one.
_SH = Flavor(
    name="sh",
    argv=["-i"],
    builtin="\\command ",
    quiet="PS1= PS2=",
    script=["-c"],
    # Clients of ROCK end each background command with this builtin of bash.  Here only nohup is needed to outlive it.
    preparation="disown() { :; }",
    warnings=["the image has no bash; the session runs sh, which lacks bash's own syntax ([[ ]], arrays, source)"],
)


def find_flavor(path: str) -> tuple[Flavor, str]:
    """The best shell on a PATH, and where it is: bash, else sh.

    Raises InvalidRequest: the image has none, so that nothing but `execute` with a list of arguments can work.
    """
    for flavor in (_BASH, _SH):
        program = shutil.which(flavor.name, path=path)
        if program is not None:
            return flavor, program
    raise InvalidRequest(
        f"this image has no shell: neither bash nor sh is on {path}; use execute with a list of arguments, or add one",
        details={"field": "command", "value": None, "expected": "execute with a list of arguments"},
    )


def frame_command(flavor: Flavor, command: str, nonce: str, status: int, terminal: str) -> bytes:
    """The lines that run a command with `$?` as the last one left it, and tell its status on the side channel."""
    # `||` keeps errexit in force for what stands last, and a status of its own needs a subshell: only when it is not 0.
    restore = f"({flavor.builtin}exit {status}) || " if status else ""
    run = f"{restore}{flavor.builtin}eval {shlex.quote(command)} <{terminal}"
    end = _mark(flavor, nonce + "a", then=f"{flavor.quiet}; {flavor.mend}")
    lines = f"{_mark(flavor, nonce + 'b')}; {run}; {end}\n\n{_end(flavor, nonce + 'z')}\n"
    return lines.encode("utf-8", "surrogatepass")


def _end(flavor: Flavor, word: str) -> str:
    return _mark(flavor, word, then=f"{flavor.quiet}; ")


def _mark(flavor: Flavor, word: str, then: str = "") -> str:
    # Braces, so that the traces of `set -x` and DEBUG traps go to the channel too, where they are no marks.
    return f"{{ {flavor.builtin}printf '\\1%s %s\\n' {word} \"$?\"; {then}}} >&0 2>&0"


class Shell:
    """A shell process and its terminal.  Runs one command at a time; who may is the session's business."""

    def __init__(self, children: Children, surroundings: Surroundings) -> None:
        loop = asyncio.get_running_loop()
        self.flavor, self._program = find_flavor(surroundings.env["PATH"])
        self.output = Output(_IDLE_OUTPUT)
        self._terminal = Terminal(self._on_output)
        self._expectation: Expectation | None = None
        self.expected: asyncio.Future[Output] = loop.create_future()
        """The output up to the text that was expected, once it was printed."""
        self.finished: asyncio.Future[int] = loop.create_future()
        """The exit code of the command that runs, once it is known."""
        self.finished.set_result(0)
        self._begun: asyncio.Future[None] = loop.create_future()
        self.was_aborted = False
        """Whether the last command was dropped half-way by SIGINT."""
        self._interrupts = 0
        """How often the shell was interrupted for it."""
        self._printed = 0
        """Bytes of its output by then."""
        self._nonces = [""]
        """What stood in the marks of this command; the last one in those that count."""
        self._status = 0
        self._heard = bytearray()
        try:
            self.child = self._start(children, surroundings)
        except BaseException:
            self._terminal.close()
            raise
        self.ended = self.child.exited
        self.pid = self.child.pid

    def _start(self, children: Children, surroundings: Surroundings) -> Child:
        if surroundings.account is not None:
            self._terminal.give_to(surroundings.account.uid, surroundings.account.gid)
        ours, theirs = socket.socketpair()
        # The first terminal that a session's leader opens becomes its controlling one; the shell then replaces itself.
        open_terminal = 'terminal=$1; shift; exec "$@" 1<>"$terminal" 2>&1'
        opener = [self._program, *self.flavor.script, open_terminal, "sh", self._terminal.path]
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            child = children.spawn(
                [*opener, self._program, *self.flavor.argv],
                surroundings,
                streams=(theirs.fileno(), subprocess.DEVNULL, subprocess.DEVNULL),
            )
            undo.pop_all()
        fd = ours.detach()
        self._channel_out = Outlet(os.dup(fd))
        self._channel_in = Inlet(fd, self._on_mark)
        self._channel_in.ended.add_done_callback(lambda _: self._lose_channel())
        return child

    def _lose_channel(self) -> None:
        """End a shell that can be told nothing more; not a program that has taken its place (`exec make`)."""
        with contextlib.suppress(OSError):
            if not self.ended.done() and os.path.samefile(f"/proc/{self.pid}/exe", self._program):
                self._kill()

    # ------------------------------------------------------------------------------------------------- commands

    @property
    def is_busy(self) -> bool:
        """Whether a command runs, be it a program that waits for more input."""
        return not self.finished.done()

    def begin(self, command: str, output: Output, *, expectation: Expectation | None = None) -> None:
        """Run a command.  What background jobs printed since the last one stands first in its output."""
        status = self.finished.result()
        self.finished = asyncio.get_running_loop().create_future()
        self._begun = asyncio.get_running_loop().create_future()
        self.was_aborted = True
        self._interrupts = 0
        self._nonces = [secrets.token_hex(16)]
        waiting, self.output = self.output, output
        waiting.pour_into(self.output)
        self._expect(expectation)
        self._channel_out.send(frame_command(self.flavor, command, self._nonces[-1], status, self._terminal.path))

    def type(self, text: str, output: Output, *, expectation: Expectation | None = None) -> None:
        """Press the keys of a text and Enter.  What is expected may have been printed before."""
        waiting, self.output = self.output, output
        self._expect(expectation)
        if expectation is not None:
            self._on_output(waiting.data)
        else:
            waiting.pour_into(self.output)
        self._terminal.type(text.encode("utf-8", "surrogatepass") + b"\n")

    def press(self, keys: bytes) -> None:
        """Press keys for what runs in the foreground."""
        self._terminal.type(keys)

    def signal(self, number: int) -> None:
        """Send a signal to what runs in the foreground."""
        self._signal_foreground(number)

    @property
    def seen(self) -> str:
        """The text that was expected and printed; empty if none was."""
        return (self._expectation.seen if self._expectation is not None else None) or ""

    def take_output(self) -> Output:
        """What was printed since the command began, what it was expected to print included."""
        taken, self.output = self.output, Output(_IDLE_OUTPUT)
        if self.expected.done():
            before = self.expected.result()
            taken.pour_into(before)
            return before
        return taken

    def take_expected(self) -> tuple[Output, str]:
        """What was printed up to an expected text, and that text; the rest is left for the next call."""
        output, seen = self.expected.result(), self.seen
        self._expect(None)
        return output, seen

    async def settle(self) -> bool:
        """Wait until all that the command printed is in `output`; False if the terminal is beyond use."""
        if not await self._terminal.settle():
            return False
        self._terminal.reset()
        if self.was_aborted and self._interrupts:
            self._drop_farewell()
        return True

    def _drop_farewell(self) -> None:
        """Take back what bash prints when SIGINT brings it back to its top level.

        A newline for its command's end by SIGINT and one for its own, if they come apart; where the command had
        something to say itself, one of them is taken for the command's.
        """
        self._drop_cut_mark()
        said = self.output.size - self._printed
        if said and (said > 2 * self._interrupts or not self.output.drop_last(b"\n" * said)):
            self.output.drop_last(b"\n")

    def _drop_cut_mark(self) -> None:
        """Take back what an interrupted printf had of a mark: bash flushes it when its output is the terminal again."""
        said = self.output.size - self._printed
        _, mark, rest = self.output.last(min(said, _MARK_SIZE)).rpartition(_MARK)
        for nonce in self._nonces:
            word = nonce.encode()
            if mark and (word.startswith(rest) or rest.startswith(word)):
                self.output.drop_last(mark + rest)

    async def stop(self, grace: float) -> None:
        """End the command that runs: Ctrl-C, after `grace` seconds a kill of what is in the foreground, then of all."""
        finished = self.finished
        self._terminal.catch_up()
        self._printed = self.output.size
        # An interrupt of a command that was not read whole would make a part of it a command.
        await wait_first(self._begun, self.ended, timeout=_READ_TIMEOUT)
        if self._begun.done():
            await self._press_ctrl_c(grace)
            if not (finished.done() or self.ended.done()):
                self._kill_foreground()
                await wait_first(finished, self.ended, timeout=_KILL_GRACE)
        if not (finished.done() or self.ended.done()):
            self._kill()
            await self.ended
        if not self.ended.done():
            await self._resync(finished)

    async def _press_ctrl_c(self, grace: float) -> None:
        """Press Ctrl-C; again when what is in the foreground by then may not have heard.

        A press that comes while bash forks a command is heard by neither: bash leaves it to the command, which does not
        have its own handlers yet.
        """
        loop = asyncio.get_running_loop()
        deadline, told = loop.time() + grace, -1
        while not (self.finished.done() or self.ended.done()):
            foreground = self._terminal.foreground()
            if foreground != told:
                told = -1 if is_newborn(foreground) else foreground
                self._interrupt()
            left = deadline - loop.time()
            if left <= 0:
                return
            await wait_first(self.finished, self.ended, timeout=min(left, _LOOK_AGAIN))

    async def _resync(self, finished: asyncio.Future[int]) -> None:
        """See to it that an interrupt which came late does not hit the next command, and that bash is free for that.

        Bash has handled it once two marks have come back; those that it swallowed are sent again.  An interrupt that
        comes between a fork and the wait for the child aborts the command, but the child has not heard of it, and bash
        waits for it behind the next builtin: so it is told, too, and killed if it does not heed that.
        """
        was_aborted = self.was_aborted
        self.finished = asyncio.get_running_loop().create_future()
        self._nonces.append(secrets.token_hex(16))
        for attempt in range(_RESYNC_TRIES):
            self._signal_foreground(signal.SIGINT if attempt < _RESYNC_INTERRUPTS else signal.SIGKILL)
            self._send_marks("a", "z")
            if await wait_first(self.finished, self.ended, timeout=_RESYNC_TIMEOUT):
                break
        else:
            self._kill()
            await self.ended
        self.finished, self.was_aborted = finished, was_aborted

    async def close(self, grace: float) -> None:
        """End it: hang up, and kill what does not go.  Jobs in the background live if they ignore SIGHUP."""
        if self.is_busy:
            self._kill_foreground()
        self.child.signal(signal.SIGHUP)
        self.child.signal(signal.SIGCONT)
        await wait_first(self.ended, timeout=grace)
        self._kill()
        await self.ended
        self.release()

    def release(self) -> None:
        """Take what a shell that has ended left on its terminal, and let go of all it had."""
        self._terminal.drain()
        self._terminal.close()
        self._channel_in.close()
        self._channel_out.close()

    # ------------------------------------------------------------------------------------------------ the details

    def _interrupt(self) -> None:
        self._signal_foreground(signal.SIGINT)
        self._interrupt_shell()

    def _interrupt_shell(self) -> None:
        self._interrupts += 1
        self.child.signal(signal.SIGINT)  # a loop or list of the shell ends with its command
        # Should the interrupt hit the shell between commands, it drops the line it is reading: the mark.
        self._send_marks("z")

    def _send_marks(self, *letters: str) -> None:
        marks = "".join(f"{_end(self.flavor, self._nonces[-1] + letter)}\n" for letter in letters)
        self._channel_out.send(f"{_UNQUOTE}\n{marks}".encode())

    def _kill_foreground(self) -> None:
        self._signal_foreground(signal.SIGKILL)
        self._interrupt_shell()

    def _kill(self) -> None:
        self.child.signal(signal.SIGSTOP)  # or a loop would begin its next command between the one kill and the other
        self._signal_foreground(signal.SIGKILL)
        self.child.signal(signal.SIGKILL)

    def _signal_foreground(self, number: int) -> None:
        """Send a signal to the foreground, where a shell waits that runs builtins or a command substitution."""
        group = self._terminal.foreground()
        if group not in (0, self.pid):
            signal_group(group, number)
        elif group == self.pid and not self.ended.done():
            for pid in group_members(group):
                if pid != self.pid:
                    signal_process(pid, number)

    def _expect(self, expectation: Expectation | None) -> None:
        self._expectation = expectation
        self.expected = asyncio.get_running_loop().create_future()

    def _on_output(self, data: bytes) -> None:
        if self._expectation is not None and not self.expected.done():
            end = self._expectation.feed(data)
            if end is not None:
                self.output.feed(data[:end])
                self.expected.set_result(self.output)
                self.output, data = Output(_IDLE_OUTPUT), data[end:]
        self.output.feed(data)

    def _on_mark(self, data: bytes) -> None:
        self._heard += data
        *lines, self._heard = self._heard.split(b"\n")
        del self._heard[:-_MARK_SIZE]  # whoever finds the channel and writes noise to it fills no memory
        for line in lines:
            word, _, status = line[line.rfind(_MARK) + 1 :].decode("latin-1").partition(" ")
            if word[:-1] == self._nonces[-1] and status.isdigit():
                self._on_letter(word[-1], int(status))

    def _on_letter(self, letter: str, status: int) -> None:
        if letter == "b" and not self._begun.done():
            self._begun.set_result(None)
        elif letter == "a":
            self.was_aborted, self._status = False, status
        elif letter == "z" and not self.finished.done():
            self.finished.set_result(status if self.was_aborted else self._status)
