"""Commands, each in a fork of a process that has imported the libraries already.

Of a command that trains a toy model, importing takes more time than all else. `multiprocessing`'s fork server imports
the libraries once (`warm_libraries.py`), and none of the project's own code: a command finds the sources that its
`PYTHONPATH` names, its own arguments, variables, input and output, as in a process that was started anew. One thing is
not as there: ZenML, as soon as it is imported, sends what is logged to the output.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import runpy
import site
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

STREAMS = ("in", "out", "err")
OURS = ("r2d", "steps", "pipelines", "mlops", "tests")


@cache
def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm_libraries"])
    return context


def start(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], folder: Path, stdin: str = ""
) -> BaseProcess:
    """A process of a script of Python's, or of `python` with a script, `-c` or `-m`; `in`, `out`, `err` in a folder."""
    streams = [folder / name for name in STREAMS]
    streams[0].write_text(stdin, encoding="utf-8")
    arguments = (list(command), str(cwd), dict(environment), [str(stream) for stream in streams])
    process = _fork_server().Process(target=_become, args=arguments)
    process.start()
    return process


def run(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], stdin: str = "") -> CompletedProcess[str]:
    """As `subprocess.run` with captured output."""
    with TemporaryDirectory() as folder:
        process = start(command, cwd=cwd, environment=environment, folder=Path(folder), stdin=stdin)
        process.join()
        assert process.exitcode is not None
        out, err = ((Path(folder) / name).read_text(encoding="utf-8") for name in STREAMS[1:])
    return CompletedProcess(command, process.exitcode, out, err)


@dataclass(frozen=True)
class Running:
    """A command that answers until it is ended."""

    process: BaseProcess
    folder: Path

    def printed(self, stream: str) -> str:
        """All of `out` or `err` so far."""
        return (self.folder / stream).read_text(encoding="utf-8")


@contextmanager
def running(
    command: Sequence[str], *, num_lines: int, cwd: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Running, list[str]]]:
    """A command once it has printed its first lines, and these lines; at the end it is killed."""
    with TemporaryDirectory() as folder:
        started = Running(start(command, cwd=cwd, environment=environment, folder=Path(folder)), Path(folder))
        try:
            while not (Path(folder) / "out").exists() or started.printed("out").count("\n") < num_lines:
                assert started.process.is_alive(), "".join(map(started.printed, STREAMS[1:]))
                time.sleep(0.02)
            yield started, started.printed("out").splitlines()[:num_lines]
        finally:
            started.process.kill()
            started.process.join()


def _become(command: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Run a command in this process, which nobody uses for anything else."""
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, *2 * [os.O_WRONLY | os.O_CREAT]), strict=True)):
        os.dup2(os.open(path, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(os.dup(number), mode) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.argv = command[1:] if Path(command[0]).name == "python" else command
    beside = {"-c": "", "-m": cwd}.get(sys.argv[0], str(Path(sys.argv[0]).parent))
    installed = [path for path in sys.path if path.startswith(f"{sys.base_prefix}/lib")] + site.getsitepackages()
    sys.path[:] = [beside, *environment["PYTHONPATH"].split(os.pathsep), *dict.fromkeys(installed)]
    try:
        if sys.argv[0] == "-c":
            exec(compile(sys.argv.pop(1), "<string>", "exec"), {"__name__": "__main__"})
        elif sys.argv[0] == "-m":
            runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        logging.shutdown()
