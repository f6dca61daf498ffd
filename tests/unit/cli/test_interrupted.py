"""However a command is interrupted, its exit code is 130; only a server is meant to end so."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest

# Run by `-m`, Python itself dies of SIGINT when the interruption went through code made of text.
PROGRAM = """
import packager.cli.main as commands, packager.__main__ as entry

def interrupted():
    try:
        {how}
    except KeyboardInterrupt:
        print("cleaned up")
        return commands.INTERRUPTED

commands.main = interrupted
entry.main()
"""


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "exec('raise KeyboardInterrupt')"])
def test_it_exits_with_130(how, tmp_path):
    (tmp_path / "interrupted.py").write_text(PROGRAM.format(how=how))
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "cleaned up\n"), done.stderr


def test_ctrl_c_is_how_a_server_started_here_ends(packager, monkeypatch, tmp_path):
    class Server:
        url, grpc, models, target, how = "http://127.0.0.1:1", None, (), "de/x/compose", "runs"

        def wait(self):
            raise KeyboardInterrupt

    monkeypatch.setattr("packager.running.running", lambda *_, **__: nullcontext(Server()))
    outcome = packager("run", tmp_path, "--key", tmp_path)
    assert outcome.code == 0
    assert "stopped" in outcome.err
    assert "nothing was published" not in outcome.err
