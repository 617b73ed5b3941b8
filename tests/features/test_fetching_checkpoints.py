"""Download of whole checkpoints from a server of this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cinebold.errors import DownloadError
from cinebold.features.checkpoints.fetching import fetch_checkpoint
from cinebold.features.checkpoints.folder import find_checkpoint


@pytest.fixture
def hub():
    """Serves what the test puts into its table of paths; a path that is None breaks off."""

    class Handler(BaseHTTPRequestHandler):
        files: ClassVar[dict] = {}

        def do_GET(self):
            content = self.files.get(self.path, b"")
            if content == b"":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(100 if content is None else len(content)))
            self.end_headers()
            self.wfile.write(content or b"half")

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", Handler.files
    served.shutdown()
    served.server_close()
    thread.join()


def put(files, **contents):
    for name, content in contents.items():
        files[f"/org/net/resolve/main/{name.replace('__', '.')}"] = content


def test_a_checkpoint_in_parts_is_found_where_it_was_put(hub, tmp_path):
    address, files = hub
    index = {"weight_map": {"a": "part-2.safetensors", "b": "part-1.safetensors", "c": "part-2.safetensors"}}
    put(files, config__json=b"{}", preprocessor_config__json=b"{}")
    files["/org/net/resolve/main/model.safetensors.index.json"] = json.dumps(index).encode()
    for part in (1, 2):
        files[f"/org/net/resolve/main/part-{part}.safetensors"] = bytes([part])
    assert fetch_checkpoint("org/net", tmp_path, hub=address) == (tmp_path / "org--net", True)
    found = find_checkpoint("clip", "org/net", tmp_path)
    assert [part.read_bytes() for part in found.parts()] == [b"\x01", b"\x02"]
    assert fetch_checkpoint("org/net", tmp_path, hub="http://127.0.0.1:9") == (tmp_path / "org--net", False)


def test_a_download_that_breaks_off_is_not_a_checkpoint_and_goes_on(hub, tmp_path):
    address, files = hub
    put(files, config__json=b"{}", model__safetensors=b"weights", preprocessor_config__json=None)
    with pytest.raises(DownloadError):
        fetch_checkpoint("org/net", tmp_path, hub=address)
    assert [file.name for file in (tmp_path / "org--net").iterdir()] == ["model.safetensors"]
    put(files, preprocessor_config__json=b"{}")
    fetch_checkpoint("org/net", tmp_path, hub=address)
    names = sorted(file.name for file in (tmp_path / "org--net").iterdir())
    assert names == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_what_the_hub_does_not_have_is_named(hub, tmp_path):
    with pytest.raises(DownloadError, match=r"org/net: .* has no weights of this name \(model.safetensors"):
        fetch_checkpoint("org/net", tmp_path, hub=hub[0])
    with pytest.raises(DownloadError, match="could not be saved"):
        fetch_checkpoint("org/net", tmp_path, hub="http://127.0.0.1:9")
