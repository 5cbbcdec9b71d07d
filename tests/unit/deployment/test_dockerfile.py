"""deploy/Dockerfile without an engine: each command runs in a folder that stands for the image's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

INSTRUCTIONS = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
"""That these tests carry out or check; another one needs a test."""


@dataclass(frozen=True)
class Instruction:
    name: str
    rest: str

    def words(self) -> list[str]:
        """Of a command in the form of JSON."""
        return list(json.loads(self.rest[self.rest.index("[") :]))


def read_dockerfile(repo: Path) -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (repo / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Instruction(*line.split(None, 1)) for line in lines if line.strip()]


def one(found: list[Instruction], name: str) -> Instruction:
    (instruction,) = [each for each in found if each.name == name]
    return instruction


def copy(repo: Path, image: Path, rest: str) -> None:
    """COPY as Docker does it: the content of a folder, files by name."""
    *sources, target = rest.split()
    for source in sources:
        place = image / target / (source if target.endswith("/") else "")
        if (repo / source).is_dir():
            shutil.copytree(repo / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repo / source, place)


def test_the_dockerfile_has_only_instructions_that_are_tested(repo: Path) -> None:
    found = read_dockerfile(repo)
    assert {each.name for each in found} == INSTRUCTIONS
    assert [each.name for each in found][:2] == ["ARG", "FROM"]
    python = one(found, "ARG").rest.removeprefix("PYTHON=")
    assert tuple(map(int, python.split("."))) >= (3, 11)
    assert one(found, "USER").rest == "1000:1000"  # not root


def test_the_context_holds_what_is_copied_and_nothing_else(repo: Path) -> None:
    copied = {word for each in read_dockerfile(repo) if each.name == "COPY" for word in each.rest.split()[:-1]}
    lines = (repo / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {name for name in copied if "/" not in name}
    assert {name.split("/")[0] for name in copied} <= copied
    assert all((repo / name).exists() for name in copied)


@pytest.mark.thorough
def test_every_command_of_the_dockerfile_runs_and_the_server_answers(
    repo: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    """COPY, RUN, HEALTHCHECK and CMD in their order; WORKDIR is a folder, ports are free ones."""
    found, image = read_dockerfile(repo), tmp_path / "image"
    image.mkdir()
    workdir = one(found, "WORKDIR").rest
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DERMFLOW")}
    environment["PYTHON"] = sys.executable
    for each in found:
        if each.name == "COPY":
            copy(repo, image, each.rest)
        elif each.name == "RUN":
            done = subprocess.run(
                each.rest, shell=True, cwd=image, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{each.rest}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        elif each.name == "ENV":
            for pair in shlex.split(each.rest):
                name, _, value = pair.replace(workdir, str(image)).partition("=")
                environment[name] = value.replace("$PATH", environment["PATH"])
    shutil.copytree(bundle_folder, image / "bundle")
    words = one(found, "CMD").words()
    assert words[words.index("--port") + 1] == one(found, "EXPOSE").rest
    words[words.index("--port") + 1] = "0"
    refused = subprocess.run(words, cwd=image, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "--host 0.0.0.0: other hosts reach this address, and no token is set" in refused.stderr
    environment["DERMFLOW_SERVE_TOKEN"] = secret = "a-token-of-this-test"
    with subprocess.Popen(words, cwd=image, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = re.search(r"http://0\.0\.0\.0:(\d+)/predict", server.stdout.readline())
            assert port
            check = [word.replace("8700", port[1]) for word in one(found, "HEALTHCHECK").words()]
            until = time.monotonic() + 60
            while subprocess.run(check, cwd=image, env=environment, capture_output=True, check=False).returncode:
                assert time.monotonic() < until
            address, login = f"http://127.0.0.1:{port[1]}/health", {"Authorization": f"Bearer {secret}"}
            assert httpx.get(address, headers=login).json()["run"] == "vae-frozen-1"
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) in (0, -signal.SIGTERM)
        finally:
            server.kill()
    assert subprocess.run(check, cwd=image, env=environment, capture_output=True, check=False).returncode == 1
