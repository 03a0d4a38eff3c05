"""A process that has imported every command and forks one for each that is asked for.

Run by its path: what it imports is the installed agent, as in a gateway. It ends when whoever
asks has ended. `commands.py` is the other side.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import threading
from importlib import import_module
from typing import Any, Final, NoReturn

from edge_agent.cli import command_line, main

MESSAGE_BYTES: Final = 200_000
N_STREAMS: Final = 3


def serve(channel: socket.socket) -> bool:
    """Answers each request with the process that became the command, then how it ended.

    Returns:
        Whether this process is now a command, and no server any more.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, N_STREAMS)
        if not message:
            return False
        pid = os.fork()
        if pid == 0:
            channel.close()
            become(json.loads(message), streams)
            return True
        for stream in streams:
            os.close(stream)
        channel.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(asked: dict[str, Any], streams: list[int]) -> None:
    """Takes on the arguments, the folder, the environment, the streams and the fault, if any."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["edge-agent", *asked["arguments"]]
    module, _, name = asked["broken"].partition(":")
    if module:
        setattr(import_module(module), name, None)


def end() -> NoReturn:
    """Runs the command to its end, and ends with its code."""
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - what Python does with what nobody caught
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # as Python ends: joins and futures
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # onnxruntime's own exit would wait for a thread that is not there after a fork.
    os._exit(code)


if __name__ == "__main__":
    command_line()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        end()
