"""TLS between this process and the daemon, as a plain socket for everything else here.

A thread has the connection and one end of a socket pair; HTTP and attached streams use the
other. One thread and memory BIOs, as OpenSSL's objects must not be used by two threads at a
time. The end of what this side sends is TLS's own end (close_notify): docker's half-close.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from supervisor.cli.dial import Tls
from supervisor.cli.failures import Failure

_PIECE = 64 * 1024


def secure(
    sock: socket.socket, host: str, tls: Tls, failed: Callable[[str], None]
) -> socket.socket:
    """Shake hands on `sock`, which is not the caller's any more; a socket with the plain bytes.

    Failure where the two do not trust each other. `failed` is told why it breaks later: in
    TLS 1.3 the daemon refuses a client only after the client's side of the handshake.
    """
    secured = _Secured(sock, _context(tls), host, failed)
    try:
        secured.shake_hands()
    except ssl.SSLError as error:
        raise Failure(f"cannot connect to the daemon by TLS: {_why(error)}") from None
    near, secured.app = socket.socketpair()
    sock.setblocking(False)
    secured.app.setblocking(False)
    Thread(target=secured.run, name="tls", daemon=True).start()
    return near


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif tls.ca:
            context.load_verify_locations(cafile=tls.ca)
        else:
            context.load_default_certs()
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except OSError as error:
        names = ", ".join(filter(None, tls[:3]))
        raise Failure(f"the certificates of TLS ({names}): {_why(error)}") from None
    return context


class _Secured:
    """`app` is the end of the pair with the plain bytes; owns both sockets."""

    app: socket.socket

    def __init__(
        self, net: socket.socket, context: ssl.SSLContext, host: str, failed: Callable[[str], None]
    ) -> None:
        self._net = net
        self._failed = failed
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._to_net = b""
        self._to_app = b""
        self._sending = True
        self._ending = False

    def shake_hands(self) -> None:
        """Blocking; SSLError, OSError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._net.sendall(self._outgoing.read())
                data = self._net.recv(_PIECE)
                if not data:
                    raise Failure("the daemon ended the connection; does it speak TLS?") from None
                self._incoming.write(data)
                continue
            self._net.sendall(self._outgoing.read())
            return

    def run(self) -> None:
        """Carry bytes both ways until the daemon ends the connection or this side closes."""
        with self._net, self.app:
            try:
                while self._step():
                    pass
            except ssl.SSLError as error:
                self._failed(_why(error))
            except OSError as error:
                self._failed(error.strerror or str(error))

    def _step(self) -> bool:
        """Decrypt and move what there is, then wait; False at the end."""
        if not self._to_app:
            if not self._decrypt():
                return False
            if self._ending and not self._to_app:
                self._end()
        self._to_net += self._outgoing.read()
        reading = self._sending and not self._to_net
        poll = select.poll()
        poll.register(self._net, _events(read=not self._to_app, write=bool(self._to_net)))
        wanted = _events(read=reading, write=bool(self._to_app))
        if wanted or not self._sending:  # then only to hear of its being closed
            poll.register(self.app, wanted)
        ready = dict(poll.poll())
        from_net, from_app = ready.get(self._net.fileno(), 0), ready.get(self.app.fileno(), 0)
        if from_net & select.POLLOUT:
            self._to_net = self._to_net[self._net.send(self._to_net) :]
        if from_net & ~select.POLLOUT:
            self._receive()
        if from_app & select.POLLHUP and not self._sending:
            return bool(self._to_net)
        if from_app & select.POLLOUT:
            self._to_app = self._to_app[self.app.send(self._to_app) :]
        if reading and from_app & ~select.POLLOUT:
            self._encrypt(self.app.recv(_PIECE))
        return True

    def _decrypt(self) -> bool:
        """Take the next plain bytes, if there are any; False at the end of the stream."""
        try:
            self._to_app = self._tls.read(_PIECE)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLZeroReturnError:
            return False
        return bool(self._to_app)

    def _receive(self) -> None:
        data = self._net.recv(_PIECE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _encrypt(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            return
        self._sending = False
        self._ending = True

    def _end(self) -> None:
        """Send TLS's end. Called with nothing left to decrypt: OpenSSL would drop it here."""
        self._ending = False
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()


def _events(*, read: bool, write: bool) -> int:
    return (select.POLLIN if read else 0) | (select.POLLOUT if write else 0)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the daemon's certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
