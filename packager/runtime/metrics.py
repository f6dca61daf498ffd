"""Figures in the text format of Prometheus, at `/metrics`.

Names are Triton's where they mean the same (`nv_inference_…`), so that dashboards and autoscalers
made for it work: `nv_inference_pending_request_count` is the queue to scale by. Source: Triton,
"Metrics"; Prometheus, "Exposition formats" 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .exchange import Exchange, Response
from .figures import Figures
from .models import Model
from .statistics import Duration, Histogram

_CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


class MetricsPage:
    """The handler of `/metrics`."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def __call__(self, _: Exchange) -> Response:
        text = _Text()
        figures = self._figures
        for model in figures.models():
            _model(text, model)
        for source in figures.sources:
            for kind, name, help_, labels, value in source():
                text.add(kind, name, help_, labels, value)
        _server(text, figures)
        return Response(200, text.rendered(), _CONTENT_TYPE)


class _Text:
    """Samples by family; a family's samples must stand together, whoever adds them."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def add(self, kind: str, name: str, help_: str, labels: Labels, value: float) -> None:
        family = self._family(kind, name, help_)
        family.append(f"{name}{_labels(labels)} {_number(value)}")

    def histogram(self, name: str, help_: str, labels: Labels, values: Histogram) -> None:
        family = self._family("histogram", name, help_)
        total = 0
        for bound, count in zip((*values.bounds, "+Inf"), values.counts, strict=True):
            total += count
            family.append(f"{name}_bucket{_labels({**labels, 'le': str(bound)})} {total}")
        family.append(f"{name}_sum{_labels(labels)} {_number(values.total)}")
        family.append(f"{name}_count{_labels(labels)} {total}")

    def _family(self, kind: str, name: str, help_: str) -> list[str]:
        if name not in self._families:
            self._families[name] = [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
        return self._families[name]

    def rendered(self) -> bytes:
        lines: Iterable[str] = (line for family in self._families.values() for line in family)
        return ("\n".join(lines) + "\n").encode()


def _model(text: _Text, model: Model) -> None:
    settings, scheduler = model.settings, model.scheduler
    statistics = scheduler.statistics
    labels = {"model": settings.name, "version": settings.version}

    def counter(name: str, help_: str, value: float, **more: str) -> None:
        text.add("counter", name, help_, labels | more, value)

    counter(
        "nv_inference_request_success",
        "Inference requests that were answered",
        statistics.success.count,
    )
    shed = sum(statistics.shed.values())
    failures = {"OTHER": statistics.fail.count - shed, "REJECTED": shed}
    for reason, value in failures.items():
        counter(
            "nv_inference_request_failure",
            "Inference requests that failed or were turned away",
            max(0, value),
            reason=reason,
        )
    counter("nv_inference_count", "Inferences, where a batch of n rows counts n", statistics.rows)
    counter("nv_inference_exec_count", "Runs of the session", statistics.executions)
    for part, duration in _durations(statistics.success, model):
        counter(
            f"nv_inference_{part}_duration_us",
            f"Cumulated time of requests: {part.replace('_', ' ')}, in microseconds",
            duration.seconds * 1e6,
        )
    text.add(
        "gauge",
        "nv_inference_pending_request_count",
        "Inference requests that wait for their turn",
        labels,
        scheduler.queued,
    )
    for reason in ("full", "fairness", "deadline", "timeout"):
        counter(
            "packager_shed_total",
            "Inference requests turned away by the queue, by reason",
            statistics.shed.get(reason, 0),
            reason=reason,
        )
    text.histogram(
        "packager_request_seconds",
        "Time from the head of a request to its answer",
        labels,
        statistics.request_seconds,
    )
    text.histogram("packager_queue_seconds", "Time in the queue", labels, statistics.queue_seconds)
    sizes = Histogram((1, 2, 4, 8, 16, 32, 64, 128, 256))
    for size, duration in statistics.by_size.items():
        sizes.add(size, duration.count)
    text.histogram("packager_batch_rows", "Rows of each run of the session", labels, sizes)


def _durations(success: Duration, model: Model) -> list[tuple[str, Duration]]:
    statistics = model.scheduler.statistics
    return [
        ("request", success),
        ("queue", statistics.queue),
        ("compute_input", statistics.compute_input),
        ("compute_infer", statistics.compute_infer),
        ("compute_output", statistics.compute_output),
    ]


def _server(text: _Text, figures: Figures) -> None:
    text.add("gauge", "packager_ready", "1 when requests are welcome", {}, figures.ready())
    text.add(
        "gauge",
        "packager_requests_in_hand",
        "Accepted requests that have no answer yet",
        {},
        figures.in_hand(),
    )
    text.add("gauge", "packager_connections", "Open connections", {}, figures.connections())
    text.add(
        "counter",
        "packager_connections_refused_total",
        "Connections closed because there were too many",
        {},
        figures.connections_refused(),
    )
    for status, count in sorted(figures.answers.items()):
        text.add(
            "counter",
            "packager_http_responses_total",
            "Answers by status; 499: the client left",
            {"status": str(status)},
            count,
        )
    for name, (kind, help_, value) in figures.process().items():
        text.add(kind, name, help_, {}, value)
    for name, help_, labels, value in figures.accelerators():
        text.add("gauge", name, help_, labels, value)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = (
        f'{key}="{value}"'
        for key, value in (
            (key, text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
            for key, text in labels.items()
        )
    )
    return "{" + ",".join(escaped) + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
