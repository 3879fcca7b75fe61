"""A local S3: moto's server in its own process, and the upload of a collection."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

BUCKET = "atlas"
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}
"""Environment of a client: moto takes any keys."""


@contextmanager
def object_store(log: Path) -> Iterator[int]:
    """Run moto's server on the loopback, with the bucket `BUCKET`, until the block ends; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            limit = time.monotonic() + 60
            while not _answers(port):
                assert server.poll() is None and time.monotonic() < limit, log.read_text()
                time.sleep(0.05)
            client(port).create_bucket(Bucket=BUCKET)
            yield port
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def client(port: int):
    """Return a boto3 client of the store at a port."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


def upload(folder: Path, port: int, prefix: str) -> str:
    """Copy a folder to the bucket, empty files included; return its URI."""
    s3 = client(port)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    return f"s3://{BUCKET}/{prefix}"


def tiledb_settings(port: int, **more: str) -> dict[str, str]:
    """Return TileDB's settings for the store at a port, as the config key `census.tiledb` takes them."""
    return {
        "vfs.s3.endpoint_override": f"127.0.0.1:{port}",
        "vfs.s3.scheme": "http",
        "vfs.s3.use_virtual_addressing": "false",
        "vfs.s3.region": "us-east-1",
        "vfs.s3.no_sign_request": "false",
        **more,
    }
