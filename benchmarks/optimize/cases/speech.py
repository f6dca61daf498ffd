"""Is somebody speaking: Silero VAD, a recurrent model with its state as input and output, on speech
by espeak-ng in several voices with silence and noise between. A window's label is whether the
synthesizer spoke in it; the state is carried on from window to window."""

from __future__ import annotations

import io
import subprocess
import wave
from pathlib import Path

import numpy as np

from benchmarks.optimize.cases import Case, Figures, labelled, losing_at_most
from benchmarks.optimize.cases.text import sentences
from packager.optimize.engine import open_session

RATE, STEP, CONTEXT = 16000, 512, 64
SEEN, UNSEEN = 2600, 2000
VOICES = ("en-us", "en-gb", "de", "fr-fr", "es", "en-us+f3", "de+f2", "fr-fr+m3")
METRIC = """
def score(outputs, labels):
    found = outputs["output"].reshape(len(labels["spoken"]))
    return (found > 0.5) == labels["spoken"]
"""


def silero(model: Path, folder: Path) -> Case:
    """`model`: an ONNX file of the wheel silero-vad for 16 kHz."""
    folder.mkdir()
    windows, spoken = heard(SEEN + UNSEEN)
    _, feeds = stream(model, windows[:SEEN])
    np.savez(folder / "samples.npz", **{key: np.stack([f[key] for f in feeds]) for key in feeds[0]})
    files = labelled(folder, METRIC, {"spoken": spoken[:SEEN]})
    held, truth = windows[SEEN:], spoken[SEEN:]
    reference, _ = stream(model, held)

    def task(graph: Path) -> Figures:
        own, _ = stream(graph, held)
        return {
            f"speech told from silence, of {len(truth)} windows, state carried on": round(
                float(((own > 0.5) == truth).mean()), 4
            ),
            "largest difference in probability": round(float(np.abs(own - reference).max()), 4),
        }

    return Case("silero", model, folder / "samples.npz", losing_at_most(0.005), task, files)


def stream(graph: Path, windows: np.ndarray) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Probabilities with the state carried on, so that errors can add up; and what was fed."""
    session, state = open_session(graph, 1), np.zeros((2, 1, 128), np.float32)
    found, feeds = [], []
    for window in windows:
        feed = {"input": window[None], "state": state, "sr": np.array(RATE, np.int64)}
        value, state = session.run(None, feed)
        found.append(float(value[0, 0]))
        feeds.append(feed)
    return np.array(found), feeds


def heard(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows [count, 576] of 512 new samples with the 64 before, and whether one speaks in them.
    Windows in which speech begins or ends belong to neither and are labelled by their larger part.
    """
    random, pieces, loud = np.random.RandomState(4), [], []
    texts, needed = iter(sentences()), count * STEP + CONTEXT
    while sum(map(len, pieces)) < needed:
        voice = said(next(texts), VOICES[len(pieces) // 2 % len(VOICES)])
        pause = np.zeros(random.randint(RATE // 2, 2 * RATE), np.float32)
        for piece in (voice * random.uniform(0.2, 1.0), pause):
            pieces.append(piece)
            loud.append(envelope(piece))
    sound = np.concatenate(pieces)[:needed]
    sound = sound + random.standard_normal(len(sound)) * 0.003
    active = np.concatenate(loud)[CONTEXT:needed].reshape(count, STEP).mean(-1) > 0.5
    windows = np.stack([sound[i * STEP : i * STEP + STEP + CONTEXT] for i in range(count)])
    return windows.astype(np.float32), active


def said(text: str, voice: str) -> np.ndarray:
    """Speech at 16 kHz, from -1 to 1. Needs espeak-ng."""
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True
    )
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate = file.getframerate()
        raw = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    places = np.arange(int(len(raw) * RATE / rate)) * rate / RATE
    return np.interp(places, np.arange(len(raw)), raw).astype(np.float32)


def envelope(sound: np.ndarray) -> np.ndarray:
    """Where something is to be heard within a fifth of a second, short pauses included."""
    reach = RATE // 10
    power = np.convolve(sound**2, np.ones(2 * reach) / (2 * reach), "same")
    return power > 1e-5
