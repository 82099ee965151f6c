"""HTTP as uvicorn speaks it, with a limit on the time that the head of a request may take.

uvicorn has no such setting, and the application is called only when a head is whole. What is used
here of uvicorn's protocol are its callbacks (asyncio's and httptools'), `loop` and `transport`.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Hangs up when no whole head has arrived in time: an idle caller must not hold a place."""

    head_seconds = 10.0
    head_timer: TimerHandle | None = None
    head_open = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self.stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that came in part."""
        super().data_received(data)
        if self.head_open and self.head_timer is None:
            self.wait_for_head()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self.head_open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is whole."""
        self.head_open = False
        self.stop_waiting()
        super().on_headers_complete()

    def wait_for_head(self) -> None:
        """Hang up after a while, unless it has come by then."""
        self.head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def stop_waiting(self) -> None:
        """Hang up no more."""
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
