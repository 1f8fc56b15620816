"""A service process in miniature, written to a folder as the package `tiny`.

Behaviour by environment: TINY_PORT, unless LISTEN_FD gives it a socket; TINY_EXIT "<seconds>:<code>" ends it; TINY_ONCE names a file
whose existence makes TINY_EXIT void (so that only the first run crashes); TINY_STUBBORN ignores
SIGTERM; TINY_JOURNAL is a file to which it writes when it starts and stops; TINY_NOT_READY makes
/ready say no; TINY_CHILD starts a grandchild and writes its pid there.
"""

from pathlib import Path

SOURCE = """
import http.server, json, os, signal, socket, subprocess, sys, threading, time

NAME = os.environ.get("TINY_NAME", "tiny")

def journal(word):
    path = os.environ.get("TINY_JOURNAL")
    if path:
        with open(path, "a") as file:
            file.write(f"{word} {NAME}\\\\n")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        no = "TINY_NOT_READY" in os.environ
        body = json.dumps({"checks": {"store": "down" if no else "up"}}).encode()
        self.send_response(503 if no else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

def terminate(number, frame):
    if "TINY_STUBBORN" in os.environ:
        return
    time.sleep(float(os.environ.get("TINY_SLOW_STOP", "0")))
    journal("stop")
    os._exit(0)

def main():
    signal.signal(signal.SIGTERM, terminate)
    journal("start")
    once = os.environ.get("TINY_ONCE")
    if "TINY_EXIT" in os.environ and not (once and os.path.exists(once)):
        if once:
            open(once, "w").close()
        seconds, code = os.environ["TINY_EXIT"].split(":")
        print("looma tiny: SETTING: does not fit", file=sys.stderr, flush=True)
        threading.Timer(float(seconds), lambda: os._exit(int(code))).start()
    if "TINY_CHILD" in os.environ:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(os.environ["TINY_CHILD"], "w") as file:
            file.write(str(process.pid))
    given = os.environ.get("LISTEN_FD")
    address = ("127.0.0.1", int(os.environ["TINY_PORT"]))
    server = http.server.ThreadingHTTPServer(address, Handler, bind_and_activate=given is None)
    if given is not None:
        server.socket = socket.socket(fileno=int(given))
    server.serve_forever()

if __name__ == "__main__":
    main()
"""


def install(folder: Path) -> None:
    (folder / "tiny").mkdir()
    (folder / "tiny" / "__init__.py").touch()
    (folder / "tiny" / "__main__.py").write_text(SOURCE.replace("\\\\n", "\\n"))
