"""How long a connection is put up with, and how it ends: the half that `connection` builds on.

A connection that leaves asks for no new streams (GOAWAY), serves those that are on their way until
the peer has answered a PING, and so has read it, and closes after its last answer. Source: RFC
9113, sections 5.4.1 and 6.8.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..exchange import Exchange
from . import frames
from .allowance import Allowance
from .faults import ConnectionFault, ErrorCode
from .intake import Intake
from .output import Output
from .streams import Service

if TYPE_CHECKING:
    from ..listening import Connections

_LINGER_SECONDS = 2.0
_LOOK_SECONDS = 0.5
LAST_PING = b"goodbye!"
# Beyond these, what costs a peer nothing costs it the connection. A second fills either in part,
# and every request that is answered gives something back.
_MOST_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND, _EARNED = 1000, 100, 8
_MOST_RESETS, _RESETS_PER_SECOND = 200, 33


class Ending(asyncio.Protocol):
    """A connection as far as time and its end are concerned. `due` is when the server looks after
    it, in the loop's seconds."""

    output: Output
    _transport: asyncio.Transport
    _intake: Intake

    def __init__(self, service: Service, connections: Connections) -> None:
        self.due = float("inf")
        self._service = service
        self._connections = connections
        self._reader = frames.FrameReader()
        self._allowance = Allowance(_MOST_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND, connections.now)
        self._resets = Allowance(_MOST_RESETS, _RESETS_PER_SECOND, connections.now)
        self._settled = self._leaving = self._ended = False
        self._midway_since = 0.0
        self._quiet_since = connections.now()

    def rested(self, *, well: bool) -> None:
        """A stream is over."""
        if well:
            self._allowance.earn(_EARNED)
            self._resets.earn(1)
            if self._service.closing():
                self.begin_to_leave()
        if not self._intake.streams:
            self._quiet_since = self._connections.now()
            self.due = self._quiet_since + self._connections.limits.idle_seconds
            if self._leaving and self._intake.final != frames.LARGEST_STREAM:
                self._close()

    # Patience

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand and nothing was begun."""
        midway = self._reader.midway or self._intake.block_since is not None
        return not self._intake.streams and not midway

    def accepted(self) -> list[Exchange]:
        """The exchanges that hold a place, or were told to come, and have no answer yet."""
        found = [stream.exchange for stream in self._intake.streams.values()]
        return [one for one in found if one is not None and (one.admitted or one.arriving)]

    def _look_soon(self) -> None:
        now = self._connections.now()
        if not self._midway_since and self._reader.midway:
            self._midway_since = now
        self.due = min(self.due, now + _LOOK_SECONDS)

    def overdue(self) -> None:
        """See what has taken too long."""
        limits, now = self._connections.limits, self._connections.now()
        blocked = self.output.blocked
        if (
            self._ended
            or not self._settled
            or (blocked is not None and now - blocked >= limits.write_seconds)
        ):
            self.abort()
            return
        self._intake.expire(now - limits.body_seconds)
        for stream in self.output.stuck(now - limits.write_seconds):
            self._intake.fail(stream.number, ErrorCode.CANCEL)
        begun = self._intake.block_since
        if begun is None and self._reader.midway and not self._intake.arriving:
            begun = self._midway_since
        if begun is not None and now - begun >= limits.header_seconds:
            self._fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a head came too slowly"))
        elif self.idle and now - self._quiet_since >= limits.idle_seconds:
            self.close_when_idle()
        else:
            quiet = self._quiet_since + limits.idle_seconds
            self.due = quiet if self.idle else now + _LOOK_SECONDS

    def begin_to_leave(self) -> None:
        """Ask for no new streams. Those that are on their way are served until the peer has
        answered a PING, and so has read it. RFC 9113, section 6.8."""
        if self._leaving or self._ended:
            return
        self._leaving = True
        ping = frames.frame(frames.PING, 0, 0, LAST_PING)
        self.output.control(frames.goaway(frames.LARGEST_STREAM, ErrorCode.NO_ERROR) + ping)

    def _leave(self) -> None:
        """Take no new streams, and close after the last answer."""
        self._leaving = True
        if self._intake.final == frames.LARGEST_STREAM:
            self._intake.final = self._intake.last
            self.output.control(frames.goaway(self._intake.last, ErrorCode.NO_ERROR))
        if not self._intake.streams:
            self._close()

    def close_when_idle(self) -> None:
        if not self._ended and not self._intake.streams:
            self._leave()

    def abort(self) -> None:
        self._ended = True
        self.output.transport = None
        self._transport.abort()

    def _fail(self, fault: ConnectionFault) -> None:
        """Tell the peer what is wrong, and end it."""
        self.output.control(frames.goaway(self._intake.last, fault.code, str(fault)))
        self._close(still_sending=True)

    def _close(self, *, still_sending: bool = False) -> None:
        if self._ended:
            return
        self.output.flush()
        self.output.transport = None
        self._ended = True
        self._intake.lose_all()
        # Closing on a peer that is sending would reset the connection and take the GOAWAY with it.
        if still_sending and self._transport.can_write_eof():
            self.due = self._connections.now() + _LINGER_SECONDS
            self._transport.write_eof()
        else:
            self._transport.close()
