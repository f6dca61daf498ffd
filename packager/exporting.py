"""A model of Hugging Face's form (safetensors) as the folder that a generative release takes.

The builder of ONNX Runtime GenAI does it, in a process of its own and, as a rule, in an environment
of its own: it needs torch and transformers, which never come near an image, and a later ONNX
Runtime than the one that is shipped. It is told to ask no hub, and code that lies in the model's
folder is never run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packager.decoder_folder import read_decoder
from packager.domain.generation import CPU, Decoder, TextEngine
from packager.errors import InputError, UnavailableError
from packager.generation_section import generation_of
from packager.optimize.text.source import read_text_model
from packager.progress import Progress
from packager.workspace import publishing

BUILDER = "onnxruntime_genai.models.builder"
NEEDED = ("onnxruntime_genai", "torch", "transformers", "onnx", "onnx_ir")
PACKAGES = "'onnxruntime-genai==0.18.*' torch transformers onnx onnx_ir"
_PROBE_SECONDS = 120
_TOKENS = 192
_PROOF = Path(__file__).with_name("export_proof.py")
_FARTHEST = {"fp32": 0.01, "int4": 1.0}
"""Seen of random models of four layers: 3e-6 where the builder knows all of it, and 1.2 where it
leaves out a scaling of the rotary embedding. Four bits alone put such models 0.7 to 0.8 away, which
are as steep as no trained one is; so with them this tells little."""
_MOST_CONFIGURATION = 4 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What the builder made, and what of."""

    folder: Path
    decoder: Decoder
    architecture: str
    likeness: Mapping[str, float]
    """How far its logits are from the source's (root of mean squares, relative), and at how many of
    the places both would say the same token."""

    @property
    def engine(self) -> TextEngine:
        """Who will serve it on a CPU."""
        return generation_of(self.decoder).engine_on(CPU)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": str(self.folder),
            "architecture": self.architecture,
            "layers": self.decoder.layers,
            "vocabulary": self.decoder.vocabulary,
            "context": self.decoder.context,
            "bytes": self.decoder.weights,
            "engine": self.engine.value,
            "against_the_source": dict(self.likeness),
            "not_taken_by_packager": list(self.decoder.objections),
        }


def export(
    source: Path, output: Path, python: str | None, precision: str, progress: Progress
) -> Exported:
    """Export the model in `source` to a new folder `output` with the builder of `python`.

    Raises InputError for a folder that is no such model or that the engine would not take,
    UnavailableError where the builder is not installed; nothing is published then.
    """
    architecture = _architecture(source)
    own = shutil.which(python) if python else sys.executable
    if own is None:
        raise InputError("not a Python that runs", where="--python", got=python)
    own = str(Path(own).absolute())  # not resolved: the link is what finds an environment
    _probe(own)
    with publishing(output) as work:
        progress.step(f"export {architecture}")
        progress.advance("torch reads, the builder writes; minutes for a large model", 0, 0)
        _build(own, source, work.release, work.work, precision)
        progress.step("check what came out")
        decoder = read_decoder(work.release)
        read_text_model(generation_of(decoder))
        progress.step("hold it against its source")
        likeness = _prove(own, source, decoder, work.work, precision)
    return Exported(output, read_decoder(output), architecture, likeness)


def _architecture(folder: Path) -> str:
    """The name of the model's class, where the folder is one that can be exported."""
    if (folder / "genai_config.json").is_file():
        raise InputError(
            "the model is exported already",
            where=str(folder),
            next_step=f"model: {{kind: generative, path: {folder}}}",
        )
    file = folder / "config.json"
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    weights = [name for name in names if name.endswith(".safetensors")]
    if not file.is_file() or not weights:
        raise InputError(
            "the folder is not a model in the form of Hugging Face",
            where=str(folder),
            expected="config.json, *.safetensors and tokenizer.json",
            got=", ".join(names[:5]) or "nothing",
            next_step="weights in other formats can run code when they are read: convert them first"
            if any(name.endswith((".bin", ".pt", ".pth")) for name in names)
            else None,
        )
    if "tokenizer.json" not in names:
        raise InputError(
            "the tokenizer is missing", where=str(folder), expected="tokenizer.json", got="none"
        )
    try:
        told: Mapping[str, Any] = json.loads(file.read_bytes()[:_MOST_CONFIGURATION])
        architecture = str(told["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            "the configuration names no architecture", where=f"{file}: architectures"
        ) from error
    if "auto_map" in told:
        raise InputError(
            "the model brings code of its own, which is not run",
            where=f"{file}: auto_map",
            expected="an architecture that transformers knows by itself",
        )
    return architecture


def _probe(python: str) -> None:
    """Raises UnavailableError, with what to install, unless the builder's packages are there."""
    code = f"import importlib.util as u; print(*(n for n in {NEEDED!r} if not u.find_spec(n)))"
    try:
        done = subprocess.run(
            [python, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError("not a Python that runs", where="--python", got=python) from error
    missing = done.stdout.split()
    if done.returncode or missing:
        raise UnavailableError(
            "the builder of ONNX Runtime GenAI is not installed",
            where=python,
            expected=", ".join(NEEDED),
            got=f"without {', '.join(missing)}" if missing else done.stderr[-200:],
            next_step=f"python -m venv export && export/bin/pip install {PACKAGES}, then --python "
            "export/bin/python",
        )


def _build(python: str, source: Path, output: Path, scratch: Path, precision: str) -> None:
    # The builder works in a folder of its own, where it may leave what it likes, and which it
    # takes away with itself.
    scratch = scratch.resolve() / "builder"
    scratch.mkdir()
    command = [
        *(python, "-P", "-m", BUILDER, "-i", str(source.resolve()), "-o", str(output.resolve())),
        *("-p", precision, "-e", "cpu", "-c", str(scratch)),
        *("--extra_options", "hf_token=false", "hf_remote=false"),
    ]
    done = _run(command, scratch)
    if done.returncode:
        raise InputError(
            "the builder could not export the model",
            where=str(source),
            expected="an architecture that ONNX Runtime GenAI knows, with all of its files",
            got=_last_words(done),
        )


def _prove(
    python: str, source: Path, decoder: Decoder, scratch: Path, precision: str
) -> Mapping[str, float]:
    """How far the export is from its source; raises InputError where it says something else.

    Whoever will serve it says it: the ONNX Runtime of this environment for our own engine, the
    library for its ones.
    """
    ours = generation_of(decoder).engine_on(CPU) is TextEngine.PACKAGER
    runner = sys.executable if ours and find_spec("onnxruntime") else python
    count, logits = str(min(_TOKENS, decoder.context)), str(scratch.resolve() / "logits.npy")
    for part, interpreter, folder in (
        ("source", python, source),
        ("graph" if ours else "library", runner, decoder.folder),
    ):
        command = [interpreter, "-P", str(_PROOF), part, count, str(folder.resolve()), logits]
        done = _run(command, scratch.resolve())
        if done.returncode:
            raise InputError(
                f"what the {part} says to some tokens cannot be found out",
                where=str(source),
                expected="logits after each of some tokens",
                got=_last_words(done),
            )
    likeness: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    if not likeness["distance"] <= _FARTHEST[precision]:
        raise InputError(
            "the exported graph says something else than the model",
            where=str(source),
            expected=f"logits within {_FARTHEST[precision]:g} of the source's, relative",
            got=f"{likeness['distance']:.3g}; {likeness['same']:.0%} of the next tokens the same",
            next_step="the builder does not know something in config.json (rope_scaling, a "
            "multiplier, …): this model cannot be exported with it",
        )
    return likeness


def _run(command: list[str], scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=_offline(scratch),
        cwd=scratch,
        check=False,
    )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit status {done.returncode}"


def _offline(scratch: Path) -> dict[str, str]:
    """No hub is asked, nothing is told to anybody, and no cache of the user's is read."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(scratch / "hub"),
    }
