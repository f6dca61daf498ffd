"""A forge of one machine: runs rendered release pipelines, job by job, in the shells they are for.

Commands are run as they stand. What a forge does around them is done here: checking out, handing
artifacts and secrets on, one job for each member of a matrix, and stopping at the first job that
fails. Actions that only bring tools or caches have nothing to do.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{ *([\w.()'*/-]+) *\}\}")
_TOOLS = ("actions/setup-python@", "actions/cache@")


@dataclass
class Ran:
    """One job: its name with what tells it from others of a matrix, exit status, and its words."""

    job: str
    status: int
    told: str


@dataclass
class Forge:
    """`repository` is checked out for every job; `artifacts` lie in `folder` between jobs.

    `between` is called before each job, for a test that does harm there.
    """

    repository: Path
    folder: Path
    secrets: Mapping[str, str]
    environment: Mapping[str, str]
    between: Any = None
    ran: list[Ran] = field(default_factory=list)

    def statuses(self) -> dict[str, int]:
        return {one.job: one.status for one in self.ran}

    def artifact(self, name: str) -> Path:
        return self.folder / "artifacts" / name

    def _checkout(self, job: str) -> Path:
        place = self.folder / "work" / re.sub(r"[^a-z0-9]+", "-", job)
        shutil.copytree(self.repository, place)
        return place

    def _shell(self, command: list[str], script: str, place: Path, told: Mapping[str, str]) -> Ran:
        # The tools of these tests come first, and nothing is fetched whatever a pipeline asks for.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        known = {"HOME": str(self.folder / "home"), "PATH": path, "LC_ALL": "C.UTF-8"}
        known |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            [*command, script], cwd=place, env={**known, **self.environment, **told},
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        return Ran("", done.returncode, f"{done.stdout}\n{done.stderr}")

    def github(self, workflow: bytes) -> None:
        """Run all jobs of a workflow, each after those that it needs."""
        (self.folder / "home").mkdir()
        jobs = yaml.safe_load(workflow)["jobs"]
        failed: set[str] = set()
        for name, job in jobs.items():
            if failed & set(_needs(job)):
                failed.add(name)
                continue
            for member in _members(job.get("strategy", {}).get("matrix", {})):
                if not self._github_job(name, job, member):
                    failed.add(name)

    def _github_job(self, name: str, job: Any, member: Mapping[str, str]) -> bool:
        label = " ".join([name, *member.values()])
        if self.between:
            self.between(label)
        place = self.folder / "work"
        handed = self.folder / f"env-{len(self.ran)}"
        handed.touch()
        story = ""
        for step in job["steps"]:
            known = dict(line.split("=", 1) for line in handed.read_text().splitlines())
            words = {f"matrix.{key}": value for key, value in member.items()}
            words |= {f"secrets.{key}": value for key, value in self.secrets.items()}
            words |= {f"env.{key}": value for key, value in known.items()}
            if "uses" in step:
                place = self._action(step["uses"], step.get("with", {}), words, place, label)
                continue
            told = {key: _filled(value, words) for key, value in step.get("env", {}).items()}
            told |= {**known, "GITHUB_ENV": str(handed)}
            script = _filled(step["run"], words)
            done = self._shell(["bash", "--noprofile", "--norc", "-e", "-c"], script, place, told)
            story += f"$ {script}\n{done.told}"
            if done.status:
                self.ran.append(Ran(label, done.status, story))
                return False
        self.ran.append(Ran(label, 0, story))
        return True

    def _action(
        self, uses: str, given: Mapping[str, Any], words: Mapping[str, str], place: Path, job: str
    ) -> Path:
        if uses.startswith("actions/checkout@"):
            return self._checkout(job)
        if uses.startswith("actions/upload-artifact@"):
            into = self.artifact(_filled(given["name"], words))
            found = list(_uploaded(place, _filled(given["path"], words)))
            assert found, f"{job}: nothing to upload"
            for source, name in found:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, into / name)
        elif uses.startswith("actions/download-artifact@"):
            shutil.copytree(self.artifact(_filled(given["name"], words)), place / given["path"])
        else:
            assert uses.startswith(_TOOLS), uses
        return place

    def gitlab(self, pipeline: bytes) -> None:
        """Run all jobs of a pipeline, stage by stage."""
        (self.folder / "home").mkdir()
        document = yaml.safe_load(pipeline)
        before = document["default"]["before_script"]
        for stage in document["stages"]:
            jobs = [
                (name, job) for name, job in document.items()
                if isinstance(job, dict) and job.get("stage") == stage
            ]  # fmt: skip
            for name, job in jobs:
                matrix = job.get("parallel", {}).get("matrix", [{}])[0]
                for member in _members(matrix):
                    self._gitlab_job(name, job, member, before, document.get("variables", {}))
            if any(one.status for one in self.ran):
                return

    def _gitlab_job(
        self, name: str, job: Any, member: Mapping[str, str], before: list[str], variables: Any
    ) -> None:
        label = " ".join([name, *member.values()])
        if self.between:
            self.between(label)
        place = self._checkout(label)
        for needed in _needs(job):
            for kept in sorted((self.folder / "artifacts").glob(f"{needed}*")):
                shutil.copytree(kept, place, dirs_exist_ok=True)
        told = {**self.secrets, **member}
        script = "set -e\n" + "\n".join([*before, *job["script"]])
        done = self._shell(["sh", "-c"], script, place, told)
        self.ran.append(Ran(label, done.status, done.told))
        if done.status == 0:
            into = self.artifact(re.sub(r"[^a-z0-9]+", "-", label))
            for pattern in job.get("artifacts", {}).get("paths", []):
                for source, path in _uploaded(place, pattern, whole=True):
                    (into / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, into / path)


def _needs(job: Any) -> list[str]:
    needed = job.get("needs", [])
    return [needed] if isinstance(needed, str) else needed


def _members(matrix: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    if not matrix:
        yield {}
    for key, values in matrix.items():
        yield from ({key: value} for value in values)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: words.get(match[1], ""), str(text))


def _uploaded(place: Path, patterns: str, *, whole: bool = False) -> Iterator[tuple[Path, str]]:
    """Files with their names in the artifact: of a folder what is in it, as the forges do."""
    for pattern in patterns.split():
        folder = place / pattern
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield path, path.relative_to(place if whole else folder).as_posix()
        else:
            for path in sorted(place.iterdir()):
                if path.is_file() and fnmatch.fnmatch(path.name, pattern):
                    yield path, path.name
