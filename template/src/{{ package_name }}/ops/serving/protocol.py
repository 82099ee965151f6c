"""HTTP as uvicorn speaks it, with a limit on the time that the head of a request may take."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Hangs up when no whole head has arrived in time: an idle caller must not hold a place."""

    head_seconds = 10.0
    _timer: TimerHandle | None = None
    _head_open = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that came in part."""
        super().data_received(data)
        if self._head_open and self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._head_open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is whole."""
        self._head_open = False
        self._arrived()
        super().on_headers_complete()

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
