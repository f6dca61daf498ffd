"""Helm itself, one request as JSON on standard input, one answer on standard output.

Run by the Python of an environment that has `helm-python-sdk`, which carries Helm's own Go code as
a library (`.ci/run` makes it): a process of its own, since Go's runtime is a guest in Python's.
"""

import json
import sys

import helm_python as helm


def version(_):
    return helm.helm_sdk_version()


def lint(asked):
    return helm.lint(asked["chart"], values=asked.get("values"), strict=True)


def render(asked):
    """Template → text, with the values checked by the chart's own schema first."""
    with helm.Chart.load(asked["chart"]) as chart:
        name, namespace = asked["name"], asked["namespace"]
        return chart.render(asked.get("values"), name=name, namespace=namespace)


def install(asked):
    """What `helm install --dry-run=client` says: the manifest and the notes."""
    with helm.Config(namespace=asked["namespace"], storage_driver="memory") as config:
        return config.install(
            asked["chart"], asked["name"], asked.get("values"), dry_run="client",
            namespace=asked["namespace"], chart_version=asked.get("version"), plain_http=True,
        )  # fmt: skip


def package(asked):
    return helm.package(asked["chart"], destination=asked["into"])


def pull(asked):
    with helm.RegistryClient(plain_http=True) as client:
        options = {"destination": asked["into"], "version": asked["version"]}
        return client.pull(asked["chart"], plain_http=True, **options)


def push(asked):
    with helm.RegistryClient(plain_http=True) as client:
        return client.push(asked["chart"], asked["remote"], plain_http=True)


def tags(asked):
    with helm.RegistryClient(plain_http=True) as client:
        return client.tags(asked["chart"])


VERBS = {
    verb.__name__: verb for verb in (version, lint, render, install, package, pull, push, tags)
}
request = json.load(sys.stdin)
try:
    answer = {"answer": VERBS[request["verb"]](request)}
except helm.HelmError as error:
    answer = {"refused": f"{type(error).__name__}: {error}"}
json.dump(answer, sys.stdout)
