"""A chat completion server with faults, in a process of its own; it logs every request that reaches it.

python -m tests.llm.server PORT LOG PLAN

PLAN is JSON: {"delay_seconds": [least, most], "faults": {example id: [what each further request gets, ...]},
"contents": {example id: [what each further answer says, ...]}}; what is not planned is answered, by the last content of
the example or of `*`, else by a rationale. The example is known by the marker `<<id>>`, the last one in the prompt.
"""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class LLMServer(ThreadingHTTPServer):
    """Answers, delays and breaks as planned."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, log: Path, plan: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.delay_seconds = plan.get("delay_seconds", (0.0, 0.0))
        self.faults: Mapping[str, Sequence[str]] = plan.get("faults", {})
        self.contents: Mapping[str, Sequence[str]] = plan.get("contents", {})
        self.log = log.open("a", buffering=1)
        self.lock = threading.Lock()
        self.in_flight = 0
        self.seen: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    def enter(self, example_id: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
        """Log a request; what it is to get."""
        with self.lock:
            self.in_flight += 1
            planned = self.faults.get(example_id, [])
            fault = planned[self.seen[example_id]] if self.seen[example_id] < len(planned) else "answer"
            self.seen[example_id] += 1
            entry = {"id": example_id, "in_flight": self.in_flight, "at": time.time(), "gets": fault, "body": body}
            self.log.write(json.dumps({**entry, "authorization": headers.get("Authorization")}) + "\n")
        return fault

    def content(self, example_id: str) -> str:
        """What the next answer for an example says."""
        planned = self.contents.get(example_id) or self.contents.get("*", ["It is so. So the answer is self care."])
        with self.lock:
            place = min(self.said[example_id], len(planned) - 1)
            self.said[example_id] += 1
        return planned[place]

    def leave(self) -> None:
        with self.lock:
            self.in_flight -= 1


class Handler(BaseHTTPRequestHandler):
    server: LLMServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        example_id = re.findall(r"<<(.+?)>>", prompt)[-1]
        fault = self.server.enter(example_id, dict(self.headers), body)
        try:
            time.sleep(random.uniform(*self.server.delay_seconds))
            self.give(fault, prompt, example_id)
        except OSError:
            self.close_connection = True
        finally:
            self.server.leave()

    def give(self, fault: str, prompt: str, example_id: str) -> None:
        """`answer`, a status, or one of the faults below."""
        echo = f"{self.headers.get('Authorization')} {prompt}"
        if fault.startswith("redirect to "):
            return self.send("", 307, {"Location": fault.removeprefix("redirect to ")})
        if fault == "endless":
            self.send_response(200)
            self.end_headers()
            while True:  # until the client hangs up
                self.wfile.write(b"x" * 65_536)
        if fault == "wait a day":
            return self.send("", 429, {"Retry-After": "86400"})
        if fault.isdigit():
            headers = {"Retry-After": "0.5"} if fault == "429" else {}
            error = {"message": echo, "code": "context_length_exceeded" if fault == "400" else echo}
            return self.send(json.dumps({"error": error}), int(fault), headers)
        message = {"role": "assistant", "content": self.server.content(example_id)}
        if fault == "echo":
            message["content"] = echo
        completion = {"id": "c", "model": "toy", "choices": [{"index": 0, "message": message}], "usage": USAGE}
        if fault == "no usage":
            del completion["usage"]
        if fault == "slow":
            time.sleep(30)
        if fault == "no completion":
            completion = {"error": {"message": echo}}
        text = json.dumps(completion)
        return self.send(text[:-20] if fault == "bad json" else text, half=fault == "half")

    def send(self, text: str, status: int = 200, headers: Mapping[str, str] | None = None, half: bool = False) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "x-request-id": "req-1", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the log file says it all."""


class RunningServer:
    """The server as a test sees it: a port, a log, and a process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.jsonl"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(
        self,
        faults: Mapping[str, Sequence[str]] | None = None,
        delay: tuple[float, float] = (0.0, 0.0),
        contents: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        plan = json.dumps({"delay_seconds": delay, "faults": faults or {}, "contents": contents or {}})
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-m", "tests.llm.server", str(self.port), str(self.log), plan]
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the test server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def requests(self) -> list[dict[str, Any]]:
        """What reached the server, in order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def asked(self) -> Counter[str]:
        """How often each example was asked."""
        return Counter(request["id"] for request in self.requests())


if __name__ == "__main__":
    LLMServer(int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])).serve_forever()
