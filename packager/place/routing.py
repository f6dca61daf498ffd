"""Where each country's users are sent, and where when that fails: lawful sites alone.

Two forms: a neutral GeoDNS table, and Gateway API `HTTPRoute`s that send a country's requests to
its sites by weight. The country is taken from a header that the platform's edge sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from packager.domain.placement import Demand, Placement, Site
from packager.place.latency import Latencies
from packager.place.options import Problem

COUNTRY_HEADER = "x-client-country"
_WEIGHTS = 1000


def geodns(problem: Problem, placement: Placement, latencies: Latencies) -> dict[str, Any]:
    """For each demand: sites by weight, then the lawful rest as failover, the nearest first."""
    return {
        "apiVersion": "packager/v1",
        "kind": "GeoRouting",
        "routes": [
            {
                "demand": demand.name,
                "country": demand.country,
                "data": demand.data.value,
                "sites": _weights(demand, placement),
                "failover": _failover(demand, problem, placement, latencies),
            }
            for demand in problem.demands
        ],
    }


def _weights(demand: Demand, placement: Placement) -> list[dict[str, Any]]:
    shares: dict[str, float] = {}
    for flow in placement.flows:
        if flow.demand.name == demand.name:
            region = str(flow.pool.site.region)
            shares[region] = shares.get(region, 0.0) + flow.share
    return [
        {"site": region, "weight": max(1, round(share * _WEIGHTS))}
        for region, share in sorted(shares.items(), key=lambda item: (-round(item[1], 6), item[0]))
    ]


def _failover(
    demand: Demand, problem: Problem, placement: Placement, latencies: Latencies
) -> list[str]:
    """Sites of the placement that may serve the demand, beside those that do."""
    serving = {flow.pool.site.region for flow in placement.flows if flow.demand.name == demand.name}
    running = {pool.site.region for pool, _ in placement.replicas}
    lawful: dict[str, Site] = {
        str(option.pool.site.region): option.pool.site
        for option in problem.options
        if option.demand.name == demand.name and option.pool.site.region in running - serving
    }
    return sorted(lawful, key=lambda name: (latencies.rtt_ms(demand, lawful[name]), name))


def http_routes(routing: Mapping[str, Any], service: str, port: int = 8080) -> str:
    """One `HTTPRoute` a demand (Gateway API v1); sites are `ServiceImport`s named after them."""
    documents = [_http_route(route, service, port) for route in routing["routes"]]
    text: str = yaml.safe_dump_all(documents, sort_keys=False)
    return text


def _http_route(route: Mapping[str, Any], service: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": f"{service}-{route['demand']}"[:63].rstrip("-"),
            "annotations": {"packager.dev/failover": ",".join(route["failover"])},
        },
        "spec": {
            "parentRefs": [{"name": service}],
            "rules": [
                {
                    "matches": [{"headers": [{"name": COUNTRY_HEADER, "value": route["country"]}]}],
                    "backendRefs": _backends(route["sites"], service, port),
                }
            ],
        },
    }


def _backends(sites: Sequence[Mapping[str, Any]], service: str, port: int) -> list[dict[str, Any]]:
    return [
        {
            "group": "multicluster.x-k8s.io",
            "kind": "ServiceImport",
            "name": f"{service}-{site['site'].replace('/', '-').lower()}"[:63].rstrip("-"),
            "port": port,
            "weight": site["weight"],
        }
        for site in sites
    ]
