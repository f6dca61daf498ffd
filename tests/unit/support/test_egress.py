"""The reader of strace's output finds what reaches out, and nothing else."""

from __future__ import annotations

import pytest
from egress import attempts, listened

LISTENER = """\
31 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3
31 bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
31 listen(3, 2048)                   = 0
31 socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, [5, 6]) = 0
31 accept4(3, {sa_family=AF_INET, sin_port=htons(51)}, [16], SOCK_CLOEXEC) = 7
31 recvfrom(7, ""..., 262144, 0, NULL, NULL) = 160
32 sendto(6, ""..., 1, 0, NULL, 0) = 1
31 sendto(7, ""..., 200, 0, NULL, 0 <unfinished ...>
31 sendmsg(7, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=""..., iov_len=9}]}, 0) = 9
31 <... sendto resumed>)             = 200
31 +++ exited with 0 +++
"""


def test_a_listener_that_only_answers_is_silent() -> None:
    assert attempts(LISTENER) == []
    assert listened(LISTENER)


def test_an_empty_trace_is_no_proof() -> None:
    assert not listened("")


@pytest.mark.parametrize(
    "line",
    [
        '40 connect(9, {sa_family=AF_INET, sin_addr=inet_addr("192.0.2.1")}, 16) = 0',
        "[pid 40] connect(9, {sa_family=AF_INET6, sin6_port=htons(443)}, 28 <unfinished ...>",
        '40 connect(9, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT',
        "connect(9, {sa_family=AF_INET, sin_port=htons(53)}, 16) = -1 ENETUNREACH",
        '40 sendto(9, ""..., 40, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(53)}, 16) = 40',
        '40 sendto(9, ""..., 20, 0, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 20',
        "40 sendmsg(9, {msg_name={sa_family=AF_INET, sin_port=htons(53)}, msg_namelen=16}, 0) = 40",
        "40 sendmmsg(9, [{msg_hdr={msg_name=NULL}}], 2, MSG_NOSIGNAL) = 2",
        "40 io_uring_setup(8, {flags=0}) = 9",
    ],
)
def test_what_reaches_out_is_found(line: str) -> None:
    assert [attempt.line for attempt in attempts(LISTENER + line + "\n")] == [line]
