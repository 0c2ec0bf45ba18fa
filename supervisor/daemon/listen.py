"""The API's sockets: one daemon a path, no window in which others may connect."""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trio

from supervisor.daemon.addresses import Address, TcpAddress, Tls, UnixAddress, check_tcp
from supervisor.errors import Conflict, InvalidArgument

log = logging.getLogger("orlop.daemon")

MODE = 0o660
BACKLOG = 1024
FIRST_FD = 3
"""The number of the first socket that systemd passes (sd_listen_fds(3))."""

Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]


class Listening:
    """Open sockets, for the server. `close` also removes the socket files."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.read_only: list[Listener] = []
        self._sockets: list[socket.socket] = []
        self._files: list[Path] = []

    def close(self) -> None:
        """Close all; a second time is fine."""
        for one in self._sockets:
            one.close()
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files.clear()

    def take(self, server: socket.socket, tls: Tls | None, file: Path | None = None) -> None:
        """Serve on a bound socket, which is this object's from now on."""
        self._sockets.append(server)
        if file is not None:
            self._files.append(file)
        server.listen(BACKLOG)
        server.setblocking(False)
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(server))
        if server.family == socket.AF_UNIX or tls is None:
            self.listeners.append(plain)
        else:
            # Not "https compatible": the end of a stream is told, so that none is cut short unseen.
            self.listeners.append(trio.SSLListener(plain, server_context(tls)))


def listen(
    addresses: Sequence[Address], tls: Tls | None, *, gid: int, run_root: Path, without_tls: bool
) -> Listening:
    """Sockets at all `addresses`, those that are files of the group `gid`.

    Conflict where somebody answers already, InvalidArgument where it cannot be listened.
    """
    listening = Listening()
    try:
        for address in addresses:
            if isinstance(address, UnixAddress):
                path = Path(address.path)
                listening.take(_at_path(path, gid, run_root), None, path)
            elif isinstance(address, TcpAddress):
                listening.take(_at_tcp(address), tls)
            else:
                for server in inherited():
                    _check_inherited(server, tls, without_tls=without_tls)
                    listening.take(server, tls)
    except BaseException:
        listening.close()
        raise
    return listening


def listen_read_only(
    listening: Listening, addresses: Sequence[UnixAddress], *, gid: int, run_root: Path
) -> None:
    """Further sockets, of the group `gid`, on which nothing can be changed; errors as `listen`'s.

    After an error nothing is open any more.
    """
    first = len(listening.listeners)
    try:
        for address in addresses:
            path = Path(address.path)
            listening.take(_at_path(path, gid, run_root, beside=True), None, path)
    except BaseException:
        listening.close()
        raise
    listening.read_only += listening.listeners[first:]
    del listening.listeners[first:]


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer that takes clients with a certificate of the authority only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=tls.ca)
    except OSError as error:
        raise InvalidArgument(f"--tlscacert {tls.ca}: {_why(error)}") from None
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_passphrase)
    except OSError as error:
        raise InvalidArgument(f"--tlscert {tls.cert}, --tlskey {tls.key}: {_why(error)}") from None
    except ValueError:
        raise InvalidArgument(
            f"--tlskey {tls.key}: it has a passphrase, which nobody can type"
        ) from None
    return context


def group_id(name: str, flag: str = "--group") -> int:
    """The number of a group by name or number; InvalidArgument if there is no such."""
    if name.isascii() and name.isdecimal() and int(name) < 2**32 - 1:
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InvalidArgument(f"{flag} {name}: there is no such group") from None


def inherited() -> list[socket.socket]:
    """The listening sockets that systemd has passed, named in the environment, once."""
    number, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not number.isdecimal() or not int(number):
        raise InvalidArgument(
            "host fd://: no sockets were passed; start the daemon by a systemd .socket unit"
        )
    return [_adopt(fd) for fd in range(FIRST_FD, FIRST_FD + int(number))]


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        server = socket.socket(fileno=fd)
    except OSError as error:
        raise InvalidArgument(f"host fd://: descriptor {fd}: {_why(error)}") from None
    known = server.family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
    listens = known and server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listens or server.type != socket.SOCK_STREAM:
        server.close()
        raise InvalidArgument(f"host fd://: descriptor {fd} is no listening stream socket")
    return server


def _check_inherited(server: socket.socket, tls: Tls | None, *, without_tls: bool) -> None:
    if server.family != socket.AF_UNIX:
        host, port = server.getsockname()[:2]
        check_tcp(f"fd:// ({host}:{port})", TcpAddress(host, port), tls, without_tls=without_tls)


def _at_tcp(address: TcpAddress) -> socket.socket:
    both = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in address.host else socket.AF_INET
    where = (address.host, address.port)
    try:
        return socket.create_server(where, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        text = f"cannot listen on tcp://{address.host}:{address.port}: {_why(error)}"
        raise (Conflict if error.errno == errno.EADDRINUSE else InvalidArgument)(text) from None


def _at_path(path: Path, gid: int, run_root: Path, *, beside: bool = False) -> socket.socket:
    """A bound socket; a file that nobody listens on is a dead daemon's and replaced.

    `beside`: others of another group may be in the same folder.
    """
    path.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
    _remove_stale(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old = os.umask(0o777 & ~MODE)
        try:
            server.bind(str(path))
        finally:
            os.umask(old)
        os.chown(path, -1, gid)
        if gid:
            _let_in(path.parent, gid, own=path.parent == run_root, beside=beside)
    except OSError as error:
        server.close()
        raise InvalidArgument(f"cannot listen on {path}: {_why(error)}") from None
    return server


def _let_in(folder: Path, gid: int, *, own: bool, beside: bool) -> None:
    """Members of the group must be able to pass the socket's folder."""
    about = folder.stat()
    if about.st_mode & 0o001 or (about.st_gid == gid and about.st_mode & 0o010):
        return
    if own and beside:  # its group is that of the other sockets; these files are 0660 anyway
        folder.chmod(stat.S_IMODE(about.st_mode) | 0o001)
    elif own:
        os.chown(folder, -1, gid)
        folder.chmod(stat.S_IMODE(about.st_mode) & ~0o070 | 0o010)
    else:
        log.warning(
            "members of the group %d cannot reach the socket: see the mode of %s", gid, folder
        )


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidArgument(f"cannot listen on {path}: it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        result = probe.connect_ex(str(path))
    if result in (0, errno.EAGAIN):
        raise Conflict(f"cannot listen on {path}: another daemon answers on this socket")
    with suppress(FileNotFoundError):
        path.unlink()


def _no_passphrase() -> str:
    raise ValueError


def _why(error: OSError) -> str:
    """In words; OpenSSL's errors have them in `reason`."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
