"""Acts as the executable `vllm`: `serve MODEL --port N ...`, /health and /v1/models, and misbehaves by file.

The folder in FAKE_VLLM holds what it says of itself (`starts`, `grandchild`) and what it shall do: `fail`
(that many starts end at once), `crash` (it ends when this appears), `deaf` (it ignores SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOME = Path(os.environ["FAKE_VLLM"])
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": "fake"}]} if self.path == "/v1/models" else {}).encode()
        self.send_response(200 if self.path in ("/health", "/v1/models") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    with (HOME / "starts").open("a") as starts:
        starts.write(json.dumps(sys.argv[1:]) + "\n")
    count = len((HOME / "starts").read_text().splitlines())
    print(f"INFO 11-23 02:00:00 [api_server.py:1] starting, life {count}", flush=True)
    print(f"WARNING 11-23 02:00:00 [api_server.py:2] key {os.environ.get('OPENAI_API_KEY')}", flush=True)
    print(f"INFO 11-23 02:00:00 [api_server.py:3] own key {os.environ.get('VLLM_API_KEY')}", flush=True)
    (HOME / "key").write_text(os.environ.get("VLLM_API_KEY", ""))
    fail = HOME / "fail"
    if fail.exists() and count <= int(fail.read_text()):
        print("ValueError: not enough memory for one block", flush=True)
        sys.exit(1)
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=count % 2 == 0)
    (HOME / "grandchild").write_text(str(child.pid))
    if (HOME / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not (HOME / "crash").exists():
        time.sleep(0.02)
    (HOME / "crash").unlink()
    os._exit(9)


if __name__ == "__main__":
    main()
