"""Start a verified release here: in Docker where an engine answers, else as a local process.

Either way it is the same runtime, the same model and the same configuration: the bytes of the
image whose signature was checked a moment before.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager import pipeline
from packager.domain.artifact import Image, Platform
from packager.domain.model_request import ModelName
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.errors import InputError, PackagerError, UnavailableError
from packager.launch.client import wait_ready
from packager.launch.process import LocalProcess, output_of, start_process
from packager.oci.docker_engine import Container, Engine, NoEngine, engine
from packager.oci.encryption import is_encrypted
from packager.oci.layout_reading import read_layout
from packager.progress import Progress
from packager.release_folder import ReleasedTarget, ReleaseFolder

READY_SECONDS = 120.0
_MEASURE = ("--measure",)
_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Server:
    """A started release that answers at `url`; `how` is one line that says what runs it, `grpc`
    is `host:port` where the image speaks that."""

    url: str
    grpc: str | None
    target: str
    models: tuple[ModelName, ...]
    how: str
    process: Container | LocalProcess

    @property
    def model(self) -> str | None:
        """What to call the model, where all versions have one name; None where it is not clear."""
        names = {model.name for model in self.models}
        return names.pop() if len(names) == 1 else None

    def wait(self) -> None:
        """Block until it ends by itself. Raises PackagerError, since it should not."""
        status = self.process.wait()
        raise PackagerError(
            f"the server ended by itself with status {status}",
            where=self.how,
            got=self.process.logs(5),
        )


@contextmanager
def running(
    folder: Path,
    trust: TrustFiles,
    *,
    target: TargetName | None,
    port: int | None,
    engine_choice: str,
    progress: Progress,
) -> Iterator[Server]:
    """Verify, start, wait until ready; stop when the block ends.

    `engine_choice` is auto, docker or process. Raises VerificationError before anything starts,
    UnavailableError when Docker was asked for and does not answer, PackagerError with the last
    lines of the log when the server does not become ready.
    """
    release = pipeline.open_verified(folder, trust, progress)
    here = this_platform()
    chosen = release.target(target, here)
    image = read_layout(release.images, check_layers=False).image_of(chosen.digest)
    _refuse_encrypted(image, chosen)
    with ExitStack() as stack:
        process: Container | LocalProcess
        docker = _docker(engine_choice, chosen, here)
        if isinstance(docker, Engine):
            stack.callback(docker.close)
            progress.step(f"start {chosen.name} in Docker {docker.version}")
            process, how = _in_docker(docker, release, chosen, port, progress)
        else:
            progress.step(f"start {chosen.name} as a local process")
            process, how = _as_process(image, chosen, here, port, docker.reason, stack)
        stack.enter_context(process)
        try:
            wait_ready(process.url, READY_SECONDS, process.running)
        except PackagerError as error:
            raise PackagerError(
                error.findings[0].what,
                where=how,
                got=process.logs(10).strip() or error.findings[0].what,
            ) from error
        yield Server(process.url, process.grpc, str(chosen.name), release.models, how, process)


def measured(
    folder: Path,
    trust: TrustFiles,
    *,
    target: TargetName | None,
    engine_choice: str,
    progress: Progress,
) -> str:
    """Verify a release and let a target's image time its models on this machine: the record as
    JSON, which `build --measurements` reads.

    Raises as `running` does; PackagerError when the image refuses.
    """
    release = pipeline.open_verified(folder, trust, progress)
    here = this_platform()
    chosen = release.target(target, here)
    image = read_layout(release.images, check_layers=False).image_of(chosen.digest)
    _refuse_encrypted(image, chosen)
    docker = _docker(engine_choice, chosen, here)
    progress.step(f"measure {chosen.name} on this machine")
    if isinstance(docker, Engine):
        try:
            image_id = docker.load(release.images, chosen.digest, progress=progress)
            name = f"packager-measure-{release.name}-{chosen.name.slug}-{os.getpid()}"
            status, out, err = docker.output_of(image_id, _MEASURE, name=name)
        finally:
            docker.close()
    else:
        with tempfile.TemporaryDirectory(prefix="packager-measure-") as into:
            status, out, err = output_of(image.layers, Path(into), _MEASURE)
    if status:
        raise PackagerError(
            "the image does not measure its model here",
            where=str(chosen.name),
            got=err.strip()[-400:] or f"status {status}",
        )
    for line in err.splitlines():
        progress.note(line)
    return out


def load(
    folder: Path, trust: TrustFiles, target: TargetName | None, progress: Progress
) -> dict[str, str]:
    """Verify a release and load a target's image into Docker; target → image id."""
    release = pipeline.open_verified(folder, trust, progress)
    found = engine()
    if isinstance(found, NoEngine):
        raise _no_docker(found)
    try:
        chosen = release.target(target, this_platform())
        image = read_layout(release.images, check_layers=False).image_of(chosen.digest)
        _refuse_encrypted(image, chosen)
        return {str(chosen.name): found.load(release.images, chosen.digest, progress=progress)}
    finally:
        found.close()


def _refuse_encrypted(image: Image, target: ReleasedTarget) -> None:
    """Raises InputError for an image whose model only a key in its country opens."""
    if is_encrypted(image):
        raise InputError(
            "the model of this target is encrypted, and Docker cannot open it",
            where=str(target.name),
            expected="the plain image, or an engine that decrypts (podman, CRI-O)",
            next_step="packager decrypt RELEASE --key PUB --decryption-key IN-COUNTRY.pem -o plain "
            "&& tar -C plain -cf - . | docker load",
        )


def this_platform() -> Platform:
    """The platform of this machine, in OCI's words."""
    machine = platform.machine()
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def _docker(choice: str, target: ReleasedTarget, here: Platform) -> Engine | NoEngine:
    if choice == "process":
        return NoEngine("asked for with --engine process")
    if choice == "auto" and target.platform.architecture != here.architecture:
        return NoEngine(f"Docker here runs {here}, the image is for {target.platform}")
    found = engine()
    if isinstance(found, NoEngine) and choice == "docker":
        raise _no_docker(found)
    return found


def _no_docker(found: NoEngine) -> UnavailableError:
    return UnavailableError(
        "no Docker engine answers",
        where="this machine",
        got=found.reason,
        next_step="start it, or run with --engine process",
    )


def _in_docker(
    docker: Engine,
    release: ReleaseFolder,
    target: ReleasedTarget,
    port: int | None,
    progress: Progress,
) -> tuple[Container, str]:
    image_id = docker.load(release.images, target.digest, progress=progress)
    name = f"packager-{release.name}-{target.name.slug}-{os.getpid()}"
    container = docker.start(image_id, name=name, port=port)
    route = "nothing leaves this machine" if container.isolated else "published on loopback"
    return container, f"{target.name} runs in Docker {docker.version}, {route}, at {container.url}"


def _as_process(
    image: Image,
    target: ReleasedTarget,
    here: Platform,
    port: int | None,
    reason: str,
    stack: ExitStack,
) -> tuple[LocalProcess, str]:
    into = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="packager-run-")))
    process = start_process(image.layers, into, port)
    foreign = "" if target.platform.architecture == here.architecture else f" on {here}"
    how = f"{target.name} runs as a local process{foreign} at {process.url}"
    return process, f"{how} (not in Docker: {reason})"
