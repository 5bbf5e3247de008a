"""A web server on this machine that serves one file, and does wrong what a test asks it to."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `content` at every address; what it does wrong is a switch, what it was asked for is in `asked`."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.tag = '"one"'
        self.tag_honoured = True
        self.ranges = True
        self.length = True
        self.stops_at: list[int] = []
        self.pause = 0.0
        self.status = 200
        self.location = ""
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/folder/set.csv?download=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        if server.status != 200:
            self.send_response(server.status)
            if server.location:
                self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        same = not server.tag_honoured or self.headers.get("If-Range") in (None, server.tag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges and same else 0
        total = len(server.content)
        self.send_response(416 if start >= total > 0 else 206 if start else 200)
        if server.tag:
            self.send_header("ETag", server.tag)
        if start:
            place = f"{start}-{total - 1}" if start < total else "*"
            self.send_header("Content-Range", f"bytes {place}/{total}")
        if server.length:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        stop = server.stops_at.pop(0) if server.stops_at else total
        for first in range(start, stop, 100_000):
            self.wfile.write(server.content[first : min(first + 100_000, stop)])
            time.sleep(server.pause)
