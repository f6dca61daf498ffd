"""Addresses of the door's network."""

from ipaddress import IPv4Address, IPv4Network

from packager.render.door import door_network


def test_addresses_lie_in_the_range_for_benchmarks_and_differ():
    network = door_network("filetype-de-x86-64-v3")
    subnet = IPv4Network(network.subnet)
    assert subnet.subnet_of(IPv4Network("198.18.0.0/15"))
    assert IPv4Address(network.host) in list(subnet.hosts())
    assert IPv4Address(network.nowhere) in list(subnet.hosts())
    assert network.host != network.nowhere


def test_targets_get_networks_of_their_own():
    assert door_network("filetype-de-x86-64-v3") == door_network("filetype-de-x86-64-v3")
    assert len({door_network(f"target-{number}").subnet for number in range(50)}) == 50
