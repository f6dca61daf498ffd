"""The command that exports text models of Hugging Face's form."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.console import Console
from packager.cli.options import FILE, with_console


@click.command()
@click.argument("model", metavar="MODEL", type=FILE)
@click.option("-o", "--output", required=True, type=FILE, help="The folder to write.")
@click.option(
    "--python",
    metavar="FILE",
    help="The Python of an environment with ONNX Runtime GenAI 0.18, torch and transformers; this "
    "one by default.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int4"]),
    default="fp32",
    show_default=True,
    help="fp32 lets the build choose, and prove, a smaller format.",
)
@with_console
def export(console: Console, model: Path, output: Path, python: str | None, precision: str) -> None:
    """Export a text model from a local folder of safetensors, for `model.kind: generative`.

    The builder of ONNX Runtime GenAI does it, without asking any hub and without running code that
    the folder brings. It needs torch, which has no place beside a release: give it an environment
    of its own.

    \b
    Examples:
      python -m venv export
      export/bin/pip install 'onnxruntime-genai==0.18.*' torch transformers onnx onnx_ir
      packager export my-model -o exported --python export/bin/python
    """
    from packager import exporting

    made = exporting.export(model, output, python, precision, console)
    decoder = made.decoder
    lines = [
        f"{made.folder}  {made.architecture}, {decoder.layers} layers, "
        f"{decoder.weights / 1e6:,.0f} MB",
        f"next tokens as the source's: {made.likeness['same']:.1%}",
    ]
    if decoder.reach:
        lines.append(
            f"reads at most {decoder.context} tokens: beyond, its graph would say something else "
            "than the model"
        )
    if decoder.unknown:
        lines.append(f"no engine takes it on a CPU: {'; '.join(decoder.unknown)}")
    else:
        since = f", since {'; '.join(decoder.objections)}" if decoder.objections else ""
        lines += [
            f"served on a CPU by {made.engine.value}{since}",
            f"next: model: {{kind: generative, path: {made.folder}}} in release.yaml",
        ]
    console.result("\n".join(lines), made.as_dict())
