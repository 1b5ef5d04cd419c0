"""Just enough of the PostgreSQL protocol to log in with trust and to move bytes in bulk at
little cost to this side: nothing is parsed but the end of an answer.
"""

import contextlib
import socket
import ssl
import struct

READY = b"Z\0\0\0\5I"  # ReadyForQuery, idle; no data of ours holds these bytes
BUFFER = 1 << 18


def connect(port, tls=False, source="127.0.0.1", user="postgres", database="postgres"):
    """A logged-in socket, after its first ReadyForQuery."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
        if sock.recv(1) != b"S":
            raise RuntimeError("the pooler offers no TLS")
        sock = _tls_context().wrap_socket(sock)
    parameters = f"user\0{user}\0database\0{database}\0\0".encode()
    sock.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
    drain(sock)
    return sock


def _tls_context(_made=[]):
    if not _made:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # a throw-away certificate on loopback
        _made.append(context)
    return _made[0]


def drain(sock):
    """Reads up to ReadyForQuery and returns how many bytes that was."""
    buffer, tail, total = bytearray(BUFFER), b"", 0
    view = memoryview(buffer)
    while not tail.endswith(READY):
        got = sock.recv_into(view)
        if got == 0:
            raise RuntimeError(f"connection closed: {tail!r}")
        total += got
        tail = (tail + bytes(view[max(0, got - 200) : got]))[-200:]
    if b"SERROR\0" in tail or b"SFATAL\0" in tail:
        raise RuntimeError(repr(tail))
    return total


def query(sock, sql):
    """Runs a simple query and returns the size of the answer in bytes."""
    text = sql.encode() + b"\0"
    sock.sendall(b"Q" + struct.pack("!I", 4 + len(text)) + text)
    return drain(sock)


def copy_in(sock, sql, size):
    """Sends at least `size` bytes of 1,000-byte rows to a COPY FROM STDIN; returns how many."""
    text = sql.encode() + b"\0"
    sock.sendall(b"Q" + struct.pack("!I", 4 + len(text)) + text)
    if sock.recv(BUFFER)[:1] != b"G":
        raise RuntimeError("no CopyInResponse")
    rows = (b"x" * 999 + b"\n") * 60
    message = b"d" + struct.pack("!I", 4 + len(rows)) + rows
    sent = 0
    while sent < size:
        sock.sendall(message)
        sent += len(message)
    sock.sendall(b"c" + struct.pack("!I", 4))
    drain(sock)
    return sent


@contextlib.contextmanager
def idle_clients(port, count, tls):
    """Logs clients in one after the other, each runs one query; closes them at the end.

    Yields an iterator that logs in one more client at each step. The source addresses differ so
    that the clients do not run out of ports.
    """
    socks = []

    def log_in():
        for i in range(count):
            sock = connect(port, tls, source=f"127.0.0.{2 + i // 5000}")
            query(sock, "SELECT 1")
            socks.append(sock)
            yield i + 1

    try:
        yield log_in()
    finally:
        for sock in socks:
            sock.close()
