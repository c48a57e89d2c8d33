"""The demo's server and the bundle: who may ask, what they read, and that nothing is sent."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_demo import get, runtimes
from tfresnet.deploy.device import demo

__all__ = ["runtimes"]

# What a program is not to do; "open" is looked at by its path.
WATCHED = """
import os, sys
allowed = [os.path.realpath(p) for p in ALLOWED]
def watch(event, arguments):
    if event.split('.')[0] in ('socket', 'subprocess', 'urllib', 'http', 'ftplib', 'smtplib'):
        if event not in ('socket.__new__', 'socket.gethostname'):
            print('WATCHED', event, arguments, file=sys.stderr); os._exit(99)
    if event in ('os.exec', 'os.posix_spawn', 'os.system', 'os.remove', 'os.rename'):
        print('WATCHED', event, arguments, file=sys.stderr); os._exit(99)
    if event == 'open' and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        writes = isinstance(arguments[1], str) and set(arguments[1]) & set('wax+')
        if writes and path != os.devnull or not any(
            path == a or path.startswith(a.rstrip('/') + '/') for a in allowed
        ):
            print('WATCHED', event, path, arguments[1], file=sys.stderr); os._exit(99)
sys.addaudithook(watch)
"""


@pytest.fixture
def port(runtimes, serve, exported, tiny_run):
    files = demo.files_of([tiny_run.directory])
    return serve(files, demo.samples_of(files[0]))


def status(port: int, path: str, method: str = "GET", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse().status


@pytest.mark.parametrize(
    "path",
    [
        "/../config.yaml", "/web/../../config.yaml", "/%2e%2e/config.yaml", "/web/%2e%2e%2fdemo.py",
        "/..%5cconfig.yaml", "/web/..\\demo.py", "//etc/passwd", "/etc/passwd", "/%2fetc%2fpasswd",
        "/file:///etc/passwd", "/sample/../config.yaml", "/sample/0.png/../../config.yaml",
        "/model/0.tflite%00.png", "/./", "/web/", "/sample/", "/%", "/model/99.tflite",
        "/..;/config.yaml", "/web/demo.js/", "/WEB/demo.js", "http://evil.example/web/demo.js",
    ],
)  # fmt: skip
def test_only_listed_files_are_served(port, path):
    assert status(port, path) == 404


def test_only_this_machine_is_answered(port):
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", "",
                 f"127.0.0.1.evil.example:{port}", f"localhost:{port}.evil.example"):  # fmt: skip
        assert status(port, "/", Host=host) == 403, host
    assert status(port, "/", Host=f"localhost:{port}") == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        assert status(port, "/", method) == 501
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")  # names no host
        assert b" 403 " in raw.recv(100)


def test_it_listens_on_the_loopback_address_alone(serve, runtimes, exported, tiny_run):
    server = demo.server(demo.pages(demo.files_of([tiny_run.directory]), []), 0)
    try:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with own:  # the address that the machine has for others, if it has one
            try:
                own.connect(("192.0.2.1", 9))  # for documentation; nothing is sent
                address = own.getsockname()[0]
            except OSError:
                address = None
        if address and not address.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((address, server.server_address[1]), timeout=2)
    finally:
        server.server_close()


def test_the_server_connects_to_nobody(port, monkeypatch, runtimes, tiny_run):
    def refuse(self, address):
        assert address[0] == "127.0.0.1" and address[1] == port, address
        return connect(self, address)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    demo.pages(demo.files_of([tiny_run.directory]), [])
    site = json.loads(get(port, "/site.json").read())
    for url in ["/", *(x["url"] for x in (*site["models"], *site["samples"]))]:
        assert get(port, url).status == 200
    text = json.dumps(site)
    assert str(tiny_run.directory) not in text and os.path.expanduser("~") not in text


def test_a_sample_that_is_a_link_to_elsewhere_is_not_shown(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    samples = tmp_path / "run" / "samples"
    samples.mkdir(parents=True)
    (samples / "a.png").write_bytes(b"a")
    (samples / "b.png").symlink_to(samples / "a.png")
    (samples / "c.png").symlink_to(secret)
    found = demo.samples_of(tmp_path / "run" / "export" / "model.tflite")
    assert [path.name for path in found] == ["a.png", "b.png"]
    assert len(demo.samples_in(samples)) == 3  # a folder that somebody names


def test_the_bundle_reads_its_own_files_and_sends_nothing(exported, tmp_path):
    bundle = Path(shutil.copytree(exported["bundle"], tmp_path / "bundle"))
    libraries = {Path(p).parent.parent if "site-packages" in p else p for p in sys.path if p}
    system = ("/proc", "/sys/devices", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/usr",
              "/etc/localtime", "/lib")  # fmt: skip
    allowed = [bundle, sys.prefix, sys.base_prefix, *system, *libraries]
    code = (
        f"ALLOWED = {[str(p) for p in allowed]!r}\n{WATCHED}\n"
        "sys.argv = ['classify.py', 'model_int8.tflite', 'sample.png']\nsys.path.insert(0, '.')\n"
        "import runpy\nrunpy.run_path('classify.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=bundle, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("sample.png: "), done.stderr
    (bundle / "classify.py").write_text("open('/etc/passwd')")  # that the watch sees
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=bundle, capture_output=True)
    assert done.returncode == 99
