# SPDX-License-Identifier: ISC
"""Networks on one machine: namespaces, processes, capture, waiting.

A Lab is one isolated network with everything that runs in it. Its namespaces have names nobody
else uses, its processes are stopped by pid, and close() takes all of it away again, whatever
happened before. Nothing here knows portleased; see daemon.py.
"""

import contextlib
import ctypes
import glob
import itertools
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

NOBODY = 65534
PREFIX = "pl"
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33

libc = ctypes.CDLL(None, use_errno=True)
stopping = threading.Event()
serial = itertools.count(1)


class Failure(Exception):
    """What was expected did not happen."""


class Skipped(Exception):
    """The test cannot be run here; the text says why."""


class Stopped(Exception):
    """The run is being ended from outside."""


def now():
    return time.monotonic()


def expect(condition, text):
    if not condition:
        raise Failure(text)


def run(*argv, text=None, check=True):
    """Runs a short command to its end and returns its standard output."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30)
    if check and done.returncode:
        raise Failure("%s: %s" % (" ".join(argv), (done.stderr or done.stdout).strip()[:300]))
    return done.stdout


# ---- processes -----------------------------------------------------------------------------

def process_start_time(pid):
    """In ticks; None when there is no such process or it is a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def end_foreign(pid, started, seconds=3.0, hard=False):
    """Ends a process that is not our child: only while it is still the one we knew."""
    for number in (signal.SIGKILL,) if hard else (signal.SIGTERM, signal.SIGKILL):
        limit = now() + seconds
        if process_start_time(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while now() < limit:
            if process_start_time(pid) != started:
                return
            time.sleep(0.01)


class Process:
    """A child in a namespace. Its standard error is kept as lines with the time they came."""

    def __init__(self, lab, namespace, argv, user=None, env=None, input_pipe=False):
        wrapped = ["nsenter", "--net=" + namespace.path, "--"]
        if user is not None:
            wrapped += ["setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups",
                        "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
        self.lab = lab
        self.name = os.path.basename(argv[0])
        self.lines = []
        self.text = b""
        self.all_read = False
        self.started = now()
        self.child = subprocess.Popen(
            wrapped + argv, env=env, cwd="/", close_fds=True, start_new_session=True,
            stdin=subprocess.PIPE if input_pipe else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.child.pid
        lab.children.append(self)
        self.output = self.child.stdout
        os.set_blocking(self.output.fileno(), False)
        lab.pump.watch(self.output, self.read)

    def read(self):
        try:
            data = os.read(self.output.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self.lab.pump.forget(self.output)
            self.all_read = True
            return
        stamp = now()
        whole = (self.text + data).split(b"\n")
        self.text = whole.pop()
        for line in whole:
            self.lines.append((stamp, line.decode("utf-8", "replace")))

    def running(self):
        return self.child.poll() is None

    def find(self, pattern, since=0.0):
        """The first line that matches, as (time, text, match); None if there is none."""
        for stamp, line in list(self.lines):
            if stamp >= since:
                match = re.search(pattern, line)
                if match:
                    return stamp, line, match
        return None

    def count(self, pattern, since=0.0):
        return sum(1 for t, line in list(self.lines) if t >= since and re.search(pattern, line))

    def wait_line(self, pattern, seconds, since=0.0):
        return self.lab.until(lambda: self.find(pattern, since), seconds,
                              "%s to log /%s/" % (self.name, pattern))

    def signal(self, number):
        self.child.send_signal(number)

    def wait_exit(self, seconds):
        """Waits for the end; returns (exit status, how long it took)."""
        begin = now()
        self.lab.until(lambda: not self.running(), seconds, "%s to end" % self.name, step=0.005)
        took = now() - begin
        self.lab.until(lambda: self.all_read, 5, "the last output of " + self.name, step=0.005)
        return self.child.returncode, took

    def close(self):
        for number, seconds in ((signal.SIGTERM, 4.0), (signal.SIGKILL, 2.0)):
            if self.child.poll() is not None:
                break
            self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


# ---- one thread that reads whatever comes ---------------------------------------------------

class Pump:
    def __init__(self):
        self.selector = selectors.EpollSelector()
        self.lock = threading.RLock()
        self.closed = False
        self.error = None
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def watch(self, thing, ready):
        with self.lock:
            self.selector.register(thing, selectors.EVENT_READ, ready)

    def forget(self, thing):
        with self.lock, contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(thing)

    def work(self):
        while not self.closed:
            with contextlib.suppress(OSError):
                for key, _ in self.selector.select(0.2):
                    with self.lock:
                        if key.fileobj not in self.selector.get_map():
                            continue
                    try:
                        key.data()
                    except OSError:
                        self.forget(key.fileobj)
                    except Exception as problem:  # a defect of the lab: the test must not pass
                        self.error = self.error or problem
                        self.forget(key.fileobj)

    def close(self):
        self.closed = True
        self.thread.join(2.0)
        self.selector.close()


# ---- namespaces ------------------------------------------------------------------------------

class Namespace:
    def __init__(self, lab, role):
        self.lab = lab
        self.role = role
        self.name = lab.tag + role
        self.path = "/run/netns/" + self.name
        run("ip", "netns", "add", self.name)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        with self.inside():
            # No duplicate address detection: an address can be used as soon as it is there.
            for scope in ("all", "default"):
                self.sysctl("ipv6/conf/%s/accept_dad" % scope, 0)
        self.ip("link set lo up")

    @contextlib.contextmanager
    def inside(self):
        """This thread in the namespace: for sockets, which stay where they were made."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns " + self.name)
            yield self
        finally:
            if libc.setns(home, CLONE_NEWNET):
                os._exit(70)  # a thread in the wrong network must not go on
            os.close(home)

    def sysctl(self, key, value):
        with contextlib.suppress(FileNotFoundError):
            with open("/proc/sys/net/" + key, "w") as f:
                f.write(str(value))

    def socket(self, *kind):
        with self.inside():
            return socket.socket(*kind)

    def ip(self, *commands):
        run("ip", "-n", self.name, "-batch", "-", text="\n".join(commands) + "\n")

    def run(self, *argv, **more):
        return run("nsenter", "--net=" + self.path, "--", *argv, **more)

    def nft(self, text):
        return self.run("nft", "-f", "-", text=text)

    def spawn(self, *argv, **more):
        return Process(self.lab, self, list(argv), **more)

    def close(self):
        os.close(self.fd)
        for pid in run("ip", "netns", "pids", self.name, check=False).split():
            started = process_start_time(int(pid))
            if started is not None:
                end_foreign(int(pid), started)
        run("ip", "netns", "del", self.name, check=False)


def sweep(folders):
    """Takes away what a run left behind that was killed before it could clean up: its namespaces, and
    its folder, whose name is that of `folders` and its pid."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line.split() else ""
        match = re.fullmatch(PREFIX + r"(\d+)n\d+[a-z0-9]+", name)
        if not match or os.path.exists("/proc/" + match[1]):
            continue
        for pid in run("ip", "netns", "pids", name, check=False).split():
            started = process_start_time(int(pid))
            if started is not None:
                end_foreign(int(pid), started)
        run("ip", "netns", "del", name, check=False)
    for path in glob.glob(folders + "*"):
        pid = path[len(folders):]
        if pid.isdecimal() and not os.path.exists("/proc/" + pid):
            shutil.rmtree(path, ignore_errors=True)


# ---- a lab -----------------------------------------------------------------------------------

class Lab:
    def __init__(self, name, base, limit):
        self.name = name
        self.tag = "%s%dn%d" % (PREFIX, os.getpid(), next(serial))
        self.deadline = now() + limit
        self.folder = os.path.join(base, self.tag)
        self.children = []
        self.namespaces = []
        self.others = []
        self.closed = False
        self.gone = threading.Event()
        self.lock = threading.Lock()
        os.mkdir(self.folder, 0o755)
        self.pump = Pump()

    def namespace(self, role):
        with self.lock:
            if self.closed or stopping.is_set():
                raise Stopped()
            made = Namespace(self, role)
            self.namespaces.append(made)
            return made

    def keep(self, thing):
        """Something with a close() that goes before the processes and the namespaces do."""
        self.others.append(thing)
        return thing

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def own_folder(self, name):
        """A folder that the unprivileged user owns."""
        path = self.path(name)
        os.makedirs(path, 0o755, exist_ok=True)
        os.chown(path, NOBODY, NOBODY)
        return path

    def check(self):
        if stopping.is_set():
            raise Stopped()
        if self.pump.error:
            raise Failure("the lab itself: %r" % self.pump.error)
        if now() > self.deadline:
            raise Failure("the test took too long")

    def until(self, condition, seconds, what, step=0.02):
        """Waits until condition() is true and returns its value."""
        begin = now()
        while True:
            value = condition()
            if value:
                return value
            self.check()
            if now() - begin > seconds:
                raise Failure("waited %.1f s for %s" % (seconds, what))
            time.sleep(step)

    def elapse(self, seconds, watch=None, step=0.1):
        """Lets time pass that is the subject of a test (a lease's life); watch() may raise."""
        end = now() + seconds
        while now() < end:
            self.check()
            if watch:
                watch()
            time.sleep(min(step, max(0.0, end - now())))

    def close(self):
        """By whoever comes first, the test's thread or the end of the run; the other waits."""
        with self.lock:
            first = not self.closed
            self.closed = True
        if not first:
            self.gone.wait(15)
            return
        for thing in reversed(self.others + self.children):
            with contextlib.suppress(Exception):
                thing.close()
        self.pump.close()
        for namespace in reversed(self.namespaces):
            with contextlib.suppress(Exception):
                namespace.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.gone.set()


# ---- capture ---------------------------------------------------------------------------------

class Datagram:
    """A UDP datagram of port 5350 or 5351 as it passed the interface, and what it says."""

    __slots__ = ("time", "out", "source", "sport", "target", "port", "data", "frame")

    def __init__(self, stamp, out, source, sport, target, port, data, frame):
        self.time, self.out, self.data, self.frame = stamp, out, data, frame
        self.source, self.sport, self.target, self.port = source, sport, target, port

    @property
    def mapper(self):
        return {0: "nat-pmp", 2: "pcp"}.get(self.data[0] if self.data else None)

    @property
    def response(self):
        return len(self.data) > 1 and self.data[1] >= 128

    @property
    def op(self):
        return self.data[1] & 127 if len(self.data) > 1 else None

    @property
    def kind(self):
        """address, announce, map, delete or other."""
        if self.mapper == "nat-pmp":
            if self.op == 0:
                return "address"
            if self.op in (1, 2) and len(self.data) >= 12:
                return "delete" if not self.response and self.lifetime == 0 else "map"
        if self.mapper == "pcp":
            if self.op == 0:
                return "announce"
            if self.op == 1 and len(self.data) >= 60:
                return "delete" if not self.response and self.lifetime == 0 else "map"
        return "other"

    def number(self, offset, size):
        return int.from_bytes(self.data[offset:offset + size], "big")

    @property
    def result(self):
        return self.number(2, 2) if self.mapper == "nat-pmp" else self.data[3]

    @property
    def lifetime(self):
        if self.mapper == "pcp":
            return self.number(4, 4)
        return self.number(12, 4) if self.response else self.number(8, 4)

    @property
    def protocol(self):
        if self.mapper == "pcp":
            return {6: "tcp", 17: "udp"}.get(self.data[36])
        return {1: "udp", 2: "tcp"}.get(self.op)

    @property
    def inside(self):
        if self.mapper == "pcp":
            return self.number(40, 2)
        return self.number(8, 2) if self.response else self.number(4, 2)

    @property
    def outside(self):
        if self.mapper == "pcp":
            return self.number(42, 2)
        return self.number(10, 2) if self.response else self.number(6, 2)

    @property
    def nonce(self):
        return self.data[24:36] if self.mapper == "pcp" else b""

    @property
    def key(self):
        return self.protocol, self.inside

    def __str__(self):
        text = "%.3f %s %s:%d>%s:%d %s" % (self.time, "out" if self.out else "in ", self.source,
                                         self.sport, self.target, self.port, self.data[:64].hex())
        return text


class Wire:
    """Everything on one interface that is UDP from or to the ports of the two protocols."""

    def __init__(self, namespace, interface):
        self.namespace = namespace
        self.all = []
        self.paused = False
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        namespace.lab.pump.watch(self.socket, self.read)
        namespace.lab.keep(self)

    def read(self):
        for _ in range(256):
            try:
                frame, ancillary, _, address = self.socket.recvmsg(4096, 64)
            except BlockingIOError:
                return
            offset = time.time() - now()
            stamp = now()
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data[:16])
                    stamp = seconds + nanoseconds / 1e9 - offset
            made = None if self.paused else self.decode(stamp, address[2] == 4, frame)
            if made:
                self.all.append(made)

    @staticmethod
    def decode(stamp, out, frame):
        if len(frame) < 42:
            return None
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            at = 14 + 4 * (frame[14] & 15)
            source, target = (socket.inet_ntoa(frame[i:i + 4]) for i in (26, 30))
        elif frame[12:14] == b"\x86\xdd" and frame[20] == 17:
            at = 54
            source, target = (socket.inet_ntop(socket.AF_INET6, frame[i:i + 16]) for i in (22, 38))
        else:
            return None
        sport, port, size = struct.unpack_from("!HHH", frame, at)
        if not {sport, port} & {5350, 5351}:
            return None
        return Datagram(stamp, out, source, sport, target, port, frame[at + 8:at + size], frame)

    def requests(self, since=0.0, kind=None, to=None, mapper=None):
        """What the daemon sent to a gateway's port 5351."""
        return [d for d in list(self.all) if d.out and d.port == 5351 and d.time >= since
                and (kind is None or d.kind == kind) and (to is None or d.target == to)
                and (mapper is None or d.mapper == mapper)]

    def replies(self, since=0.0, kind=None):
        return [d for d in list(self.all) if not d.out and d.sport == 5351 and d.time >= since
                and (kind is None or d.kind == kind)]

    def tail(self, n=12):
        return "\n".join("    " + str(d) for d in list(self.all)[-n:])

    def write_pcap(self, path):
        offset = time.time() - now()
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            for d in list(self.all):
                stamp = d.time + offset
                f.write(struct.pack("<IIII", int(stamp), int(stamp % 1 * 1e6), len(d.frame),
                                    len(d.frame)))
                f.write(d.frame)

    def close(self):
        self.namespace.lab.pump.forget(self.socket)
        self.socket.close()


# ---- traffic ---------------------------------------------------------------------------------

class Web:
    """A small HTTP server and UDP echo on some ports of a namespace: what a forward leads to."""

    def __init__(self, namespace, tcp=(), udp=()):
        self.lab = namespace.lab
        self.sockets = []
        for port in tcp:
            listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
            listener.listen(64)
            listener.setblocking(False)
            self.watch(listener, lambda s=listener, p=port: self.accept(s, p))
        for port in udp:
            echo = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
            echo.bind(("", port))
            echo.setblocking(False)
            self.watch(echo, lambda s=echo, p=port: self.echo(s, p))
        self.lab.keep(self)

    def watch(self, made, ready):
        self.sockets.append(made)
        self.lab.pump.watch(made, ready)

    def accept(self, listener, port):
        with contextlib.suppress(BlockingIOError):
            made, _ = listener.accept()
            made.setblocking(False)
            self.lab.pump.watch(made, lambda: self.answer(made, port))

    def answer(self, made, port):
        self.lab.pump.forget(made)
        with contextlib.suppress(OSError), made:
            if made.recv(4096):
                made.sendall(b"HTTP/1.0 200 OK\r\n\r\nport %d\n" % port)

    @staticmethod
    def echo(made, port):
        with contextlib.suppress(OSError):
            data, source = made.recvfrom(2048)
            made.sendto(b"port %d\n" % port + data, source)

    def close(self):
        for made in self.sockets:
            self.lab.pump.forget(made)
            made.close()


def fetch(namespace, address, port, seconds=1.0):
    """What a web client in the namespace gets, or None."""
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((address, port))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b""
            while True:
                more = client.recv(4096)
                if not more:
                    return text.partition(b"\r\n\r\n")[2].decode().strip() or None
                text += more
        except OSError:
            return None


def ask_udp(namespace, address, port, seconds=1.0):
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((address, port))
            client.send(b"?")
            return client.recv(2048).partition(b"\n")[0].decode()
        except OSError:
            return None


def inject(namespace, interface, source, target, data):
    """Sends a UDP datagram with any source; source and target are (address, port)."""
    with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        udp = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 1, socket.IPPROTO_UDP, 0,
                           socket.inet_aton(source[0]), socket.inet_aton(target[0]))
        raw.sendto(head + udp, (target[0], 0))


class Prober(threading.Thread):
    """Connects ten times a second; an outage is two connects in a row that failed."""

    def __init__(self, namespace, address, port):
        super().__init__(daemon=True)
        self.namespace, self.address, self.port = namespace, address, port
        self.tries = self.failures = 0
        self.outages = []
        self.end = threading.Event()
        namespace.lab.keep(self)

    def run(self):
        failed = False
        while not self.end.is_set():
            begin = now()
            good = False
            with contextlib.suppress(OSError):
                with self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                    client.settimeout(0.5)
                    client.connect((self.address, self.port))
                    good = True
            self.tries += 1
            if not good:
                self.failures += 1
                if failed:
                    self.outages.append(begin)
            failed = not good
            self.end.wait(max(0.0, begin + 0.1 - now()))

    def close(self):
        self.end.set()
        if self.is_alive():
            self.join(2.0)


# ---- the home network ------------------------------------------------------------------------

class Gateway:
    """A router's namespace: lan0 on the home's switch, wan0 to the Internet."""

    def __init__(self, home, role, inner, outer, link):
        self.space = home.lab.namespace(role)
        self.inner, self.outer = inner, outer
        home.plug(self.space, "lan0", inner)
        run("ip", "link", "add", "wan0", "netns", self.space.name, "type", "veth", "peer", "name",
            link, "netns", home.wan.name)
        with self.space.inside():
            self.space.sysctl("ipv4/ip_forward", 1)
        self.space.ip("addr add %s/24 dev wan0" % outer, "link set wan0 up")
        home.wan.ip("addr add %s2/24 dev %s" % (outer[:-1], link), "link set %s up" % link)


class Home:
    """lan and one or two gateways on a switch, and the wan behind them."""

    lan_address = "10.77.0.2"

    def __init__(self, lab, gateways=1, route=True):
        self.lab = lab
        self.ports = 0
        self.switch = lab.namespace("sw")
        self.switch.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up")
        self.lan = lab.namespace("lan")
        self.wan = lab.namespace("wan")
        self.plug(self.lan, "eth0", self.lan_address)
        self.gw = Gateway(self, "gw", "10.77.0.1", "11.22.33.1", "eth0")
        self.gw2 = None
        if gateways > 1:
            self.gw2 = Gateway(self, "gw2", "10.77.0.3", "11.22.44.1", "eth1")
        if route:
            self.route(self.gw)
        self.wire = Wire(self.lan, "eth0")

    def plug(self, space, name, address):
        self.ports += 1
        port = "p%d" % self.ports
        run("ip", "link", "add", name, "netns", space.name, "type", "veth", "peer", "name", port,
            "netns", self.switch.name)
        self.switch.ip("link set %s master br0" % port, "link set %s up" % port)
        space.ip("addr add %s/24 dev %s" % (address, name), "link set %s up" % name)

    def route(self, gateway):
        self.lan.ip("route replace default via %s" % gateway.inner)
