"""Servers with one fault each, for duolu why to find. usage: faulty.py FAULT PORT"""
import os
import select
import signal
import socket
import sys
import time

fault, port = sys.argv[1], int(sys.argv[2])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(8 if fault == "full-queue" else 512)
EDGE = select.EPOLLIN | select.EPOLLET


def loop(mask, serve, on_accept_error=None):
    """A loop on epoll; serve(connection, epoll) answers an event."""
    listener.setblocking(False)
    epoll, connections = select.epoll(), {}
    epoll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in epoll.poll():
            if number != listener.fileno():
                serve(connections[number], epoll)
                continue
            try:
                connection, _ = listener.accept()
            except OSError:
                continue  # and so, out of descriptors, for ever
            connection.setblocking(False)
            connections[connection.fileno()] = connection
            epoll.register(connection, mask)


def four_bytes(connection, _):
    connection.recv(4)


def sleep(connection, _):
    connection.recv(100)
    time.sleep(3600)


def compute(connection, _):
    connection.recv(100)
    while True:
        pass


def echo(connection, epoll):
    data = connection.recv(4096)
    if data:
        connection.send(data)
    else:
        epoll.unregister(connection)  # and keeps it: CLOSE-WAIT for ever


def in_two_writes(connection, _):
    """Head and body apart: the second waits for the acknowledgement of the first, which the client delays."""
    if connection.recv(4096):
        connection.send(b"h")
        connection.send(b"b")


if fault == "edge":
    loop(EDGE, four_bytes)
elif fault == "one-shot":
    loop(select.EPOLLIN | select.EPOLLONESHOT, four_bytes)
elif fault == "sleep":
    loop(select.EPOLLIN, sleep)
elif fault == "compute":
    loop(select.EPOLLIN, compute)
elif fault in ("spin", "leak", "level"):
    loop(select.EPOLLIN, echo)
elif fault == "two-writes":
    loop(select.EPOLLIN, in_two_writes)
elif fault == "full-queue":
    while True:
        time.sleep(3600)
elif fault == "iterative":
    while True:
        connection, _ = listener.accept()
        while connection.recv(4096):
            pass
        connection.close()
elif fault == "accepting-pool":
    import threading

    def serve():
        while True:
            connection, _ = listener.accept()
            while connection.recv(4096):
                pass
            connection.close()

    for _ in range(3):
        threading.Thread(target=serve).start()
elif fault == "select":
    connections = []
    while True:
        ready, _, _ = select.select([listener] + connections, [], [])
        for one in ready:
            if one is listener:
                connections.append(listener.accept()[0])
            elif not one.recv(4096):
                connections.remove(one)
elif fault == "fork":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:  # and keeps the listener, as careless servers do
            while connection.recv(4096):
                pass
            os._exit(0)
        connection.close()
else:
    sys.exit("no such fault")
