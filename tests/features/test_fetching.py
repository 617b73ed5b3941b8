"""Download of weights from a server of this machine, good, damaged and absent."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cinebold.errors import DownloadError
from cinebold.features.__main__ import main
from cinebold.features.alexnet import AlexNet
from cinebold.features.fetching import fetch_weights
from cinebold.features.weights import WeightsSource

CONTENT = bytes(range(256)) * 20_000
GOOD = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture
def server():
    """Serves CONTENT under any name, and half of it under names that begin with `half`; counts the requests."""

    class Handler(BaseHTTPRequestHandler):
        requests = 0

        def do_GET(self):
            type(self).requests += 1
            if self.path.startswith("/gone"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path.startswith("/half") else CONTENT)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", Handler
    served.shutdown()
    served.server_close()
    thread.join()


def source(address, name, path=None):
    return WeightsSource("net", (name,), f"{address}/{path or name}")


def test_a_file_is_downloaded_once_and_a_bad_one_replaced(server, tmp_path):
    address, handler = server
    told = []
    got = fetch_weights(source(address, GOOD), tmp_path / "new" / "folder", lambda *n: told.append(n))
    assert got == (tmp_path / "new" / "folder" / GOOD, True)
    assert got[0].read_bytes() == CONTENT and told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch_weights(source(address, GOOD), tmp_path / "new" / "folder") == (got[0], False)
    assert handler.requests == 1
    got[0].write_bytes(b"damaged")
    assert fetch_weights(source(address, GOOD), tmp_path / "new" / "folder") == (got[0], True)
    assert got[0].read_bytes() == CONTENT
    # Without digits in the name nothing tells that a file is bad, so it stays.
    (tmp_path / "X3D.pyth").write_bytes(b"mine")
    assert fetch_weights(source(address, "X3D.pyth"), tmp_path) == (tmp_path / "X3D.pyth", False)
    assert (tmp_path / "X3D.pyth").read_bytes() == b"mine" and handler.requests == 2


@pytest.mark.parametrize(
    ("name", "path", "sentence"),
    [
        ("net-00000000.pth", None, "begins with [0-9a-f]{8}, expected 00000000"),
        ("net.pth", "half.pth", "bytes before the connection ended|IncompleteRead"),
        ("net.pth", "gone.pth", "Not Found"),
    ],
)
def test_what_is_not_the_file_leaves_nothing(server, tmp_path, name, path, sentence):
    with pytest.raises(DownloadError, match=sentence):
        fetch_weights(source(server[0], name, path), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_fetches_and_says_what_to_do_without_a_network(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(AlexNet, "source", source(server[0], GOOD))
    fetch = ["fetch", "alexnet", "--weights-dir", str(tmp_path)]
    for words in ("downloaded", "was there"):
        assert main(fetch) == 0
        assert words in capsys.readouterr().out
    monkeypatch.setattr(AlexNet, "source", WeightsSource("alexnet", ("a.pth",), "http://127.0.0.1:1/a.pth"))
    assert main(fetch) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "http://127.0.0.1:1/a.pth could not be saved" in error
    assert "download it on a machine that has one" in error
    assert main(["fetch", "low_level", "--weights-dir", str(tmp_path)]) == 2
    assert "needs no weights" in capsys.readouterr().err
    assert main(["fetch", "alexnett", "--weights-dir", str(tmp_path)]) == 2
    assert "Unknown feature extractor" in capsys.readouterr().err
