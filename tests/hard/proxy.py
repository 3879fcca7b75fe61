"""An HTTP proxy between a client and an object store, with the faults of networks."""

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

FAULTS = ("drop", "unavailable", "unavailable_retry_after", "truncate", "slow", "hang")
"""Connection closed without an answer; 503; 503 with Retry-After; a body shorter than Content-Length; a late answer;
an answer after the client's timeout."""

CODE = b"<Error><Code>ServiceUnavailable</Code><Message>Reduce your request rate.</Message></Error>"
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
"""Headers that the proxy writes itself."""


class FaultyProxy(ThreadingHTTPServer):
    """Forwards to a port of the loopback; a context manager that serves in threads.

    Faults come in bursts: a burst starts at a request with probability `rate` and affects one to three requests for the
    same object and range, so that some end within the client's own retries and some do not. The kinds take turns.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, upstream: int, *, rate: float = 0.0, seed: int = 0, slow_seconds: float = 0.3, hang_seconds: float = 2.5
    ) -> None:
        """Listen on a free port and forward to the port `upstream`."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.rate = upstream, rate
        self.late = {"slow": slow_seconds, "hang": hang_seconds}
        self.certain: str | None = None
        """Faults also start at the first GET of each range of paths that end with this."""
        self.broken: str | None = None
        """While set, every GET whose path ends with this is answered 503."""
        self.met: Counter[str] = Counter()
        """Number of requests with each fault; `requests` counts all, `broken` those with `broken`."""
        self._rng, self._lock = np.random.default_rng(seed), threading.Lock()
        self._bursts: dict[str, tuple[str, int]] = {}
        self._seen: set[str] = set()
        self._begun = 0

    @property
    def port(self) -> int:
        return self.server_address[1]

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Ignore clients that have closed the connection."""

    def fault(self, method: str, path: str, span: str) -> str | None:
        """Return the fault of a request, and count it."""
        with self._lock:
            self.met["requests"] += 1
            place = path.split("?")[0] if method == "GET" else ""
            if self.broken and place.endswith(self.broken):
                self.met["broken"] += 1
                return "unavailable"
            key = f"{method} {path} {span}"
            first = bool(self.certain) and place.endswith(self.certain) and key not in self._seen
            self._seen.add(key)
            if key in self._bursts:
                kind, left = self._bursts.pop(key)
            elif first or self._rng.random() < self.rate:
                kind, left = FAULTS[self._begun % len(FAULTS)], 3 if first else int(self._rng.integers(1, 4))
                self._begun += 1
            else:
                return None
            if kind == "truncate" and method == "HEAD":
                kind = "drop"  # there is no body to cut short
            if left > 1:
                self._bursts[key] = (kind, left - 1)
            self.met[kind] += 1
            return kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet for an answer: headers and body in two cost 40 ms each time (Nagle's algorithm and delayed ACKs).
    wbufsize = -1
    disable_nagle_algorithm = True
    server: FaultyProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault(self.command, self.path, self.headers.get("Range", ""))
        if fault == "drop":
            self.close_connection = True
        elif fault in ("unavailable", "unavailable_retry_after"):
            wait = {"Retry-After": "1"} if fault == "unavailable_retry_after" else {}
            self._answer(503, wait, CODE)
        else:
            time.sleep(self.server.late.get(fault, 0))
            self._pass_on(body, truncated=fault == "truncate")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _pass_on(self, body: bytes, *, truncated: bool) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
        # An answer to HEAD has the length of a body that it does not have.
        length = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(content)
        upstream.close()
        if truncated:
            self.close_connection = True
            content = content[: len(content) // 2]
        self._answer(answer.status, headers, content, length)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
