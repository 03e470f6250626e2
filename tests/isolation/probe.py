"""Run inside a container as a command of the agent: says what it can do there.

probe.py MARKER KEY < /dev/null: prints one JSON object. MARKER is in the name of a file in another workspace, KEY is the
first half of a secret that nobody here may have. Changes nothing that lasts, and nothing outside the container.
"""
import ctypes, errno, json, os, resource, socket, stat, struct, subprocess, sys, time

MARKER, KEY = sys.argv[1], sys.argv[2].encode()
HERE = os.path.dirname(os.path.abspath(__file__))
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
SYS_add_key = {"x86_64": 248, "aarch64": 217}[os.uname().machine]


def tried(action):
    """What an act came to: `done`, or the name of the error."""
    try:
        action()
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "call")


def in_child(action):
    """As `tried`, in a process of its own: what it changes is gone with it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, tried(action).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        return answer.read()


def writes(path):
    def act():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.close(descriptor)
        os.remove(path)
    return tried(act)


def opens(path, flags=os.O_RDONLY):
    return tried(lambda: os.close(os.open(path, flags)))


def reads(path):
    """As `tried`, and there must be something to read: what is masked opens, and is empty."""
    def act():
        with open(path, "rb", buffering=0) as file:
            if not file.read(1):
                raise OSError(errno.ENODATA, "empty")
    return tried(act)


def makes_cgroup():
    base = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"
    os.mkdir(f"{base}/probe")
    os.rmdir(f"{base}/probe")


def fills(directory, most):
    """Bytes that fit before the file system is full, at most `most`."""
    path, block, size = os.path.join(directory, "probe-fill"), b"x" * (1 << 20), 0
    try:
        with open(path, "wb", buffering=0) as file:
            while size < most:
                size += file.write(block)
        return size
    except OSError as error:
        return size if error.errno in (errno.ENOSPC, errno.EDQUOT) else errno.errorcode[error.errno]
    finally:
        tried(lambda: os.remove(path))


def connects(host, port, seconds=1.5):
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return "done"
    except OSError as error:
        # Refused is an answer: somebody is there.
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return "done" if name == "ECONNREFUSED" else name


def status(path="/proc/self/status"):
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def mounts():
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, right = line.split(" - ")
            root, path, options = left.split(" ")[3:6]
            kind = right.split(" ")[0]
            yield root, path, options.split(","), kind


KERNEL = {"proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"}


def is_usual(path):
    """Made by the engine for every container, of its own or to name it."""
    return path in ("/", "/tmp", os.environ["HOME"], "/etc/resolv.conf", "/etc/hostname", "/etc/hosts") or \
        path.split("/")[1] in ("proc", "sys", "dev")


def host_paths():
    """Paths of the machine that the list of mounts tells: what is mounted from there, and where the image lies."""
    told = {root for root, path, _, kind in mounts() if kind not in KERNEL and root not in ("/", "/null") and not path.startswith("/proc")}
    with open("/proc/self/mountinfo") as file:
        layers = {part.split("=")[1] for line in file for part in line.split(" - ")[1].split(",") if part.startswith("upperdir=")}
    return sorted(told | layers)


def walk():
    """Every name but those of the kernel's own file systems: sockets, and what carries the marker."""
    sockets, marked, set_id = [], [], []
    for top, directories, files in os.walk("/", followlinks=False):
        if top == "/":
            directories[:] = [name for name in directories if name not in ("proc", "sys")]
        for name in files:
            path = os.path.join(top, name)
            if MARKER in name:
                marked.append(path)
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                continue
            if stat.S_ISSOCK(mode):
                sockets.append(path)
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                set_id.append(path)
    return {"sockets": sorted(sockets), "marked": marked, "set_id": set_id}


def forks(most):
    """Children that can live at once, at most `most`."""
    children = []
    try:
        while len(children) < most:
            child = os.fork()
            if child == 0:
                time.sleep(600)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, 9)
    for child in children:
        os.waitpid(child, 0)
    return len(children)


def cpu_share(seconds=2):
    """Cores that two busy processes really get, together."""
    before, start = os.times(), time.monotonic()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            while time.monotonic() - start < seconds:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return round(used / (time.monotonic() - start), 3)


def allocates(most):
    """What becomes of a process that uses so much memory: its signal, or `done`."""
    child = os.fork()
    if child == 0:
        block = b"x" * most
        os._exit(0 if len(block) == most else 1)
    _, result = os.waitpid(child, 0)
    return f"signal {os.WTERMSIG(result)}" if os.WIFSIGNALED(result) else "done"


def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def reads_key():
    """Files of processes, environments first, in which the secret is."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    data = file.read()
            except OSError:
                continue
            if KEY in data and pid != str(os.getpid()) and b"probe.py" not in data:
                found.append(f"/proc/{pid}/{name}")
    return found


def names_of_processes():
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names.append(status(f"/proc/{pid}/status")["Name"])
        except OSError:
            pass
    return sorted(set(names))


def gateway_of_network():
    """The machine's address on the network, if there is a way out."""
    with open("/proc/net/route") as file:
        for line in list(file)[1:]:
            _, target, gateway = line.split()[:3]
            if target == "00000000" and gateway != "00000000":
                return socket.inet_ntoa(struct.pack("<L", int(gateway, 16)))
    return None


def reaches():
    gateway = gateway_of_network()
    places = {"metadata 169.254.169.254": ("169.254.169.254", 80), "metadata fd00:ec2::254": ("fd00:ec2::254", 80),
              "metadata 100.100.100.200": ("100.100.100.200", 80), "the docker bridge": ("172.17.0.1", 22)}
    if gateway is not None:
        places["the machine"] = (gateway, 22)
    return {name: connects(*place) for name, place in places.items()}


def secrets():
    ran = subprocess.run([sys.executable, os.path.join(HERE, "secret-probe.py"), KEY.decode()], capture_output=True, text=True)
    return json.loads(ran.stdout) if ran.returncode == 0 else {"failed": ran.stderr[-500:]}


me = status()
MIB = 1 << 20
core = resource.getrlimit(resource.RLIMIT_CORE)[1]
findings = {
    "uid": os.getuid(), "gid": os.getgid(), "groups": sorted(set(os.getgroups()) - {os.getgid()}),
    "capabilities": {name: me[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "seccomp": me["Seccomp"], "no_new_privileges": me["NoNewPrivs"],
    "setuid": in_child(lambda: os.setresuid(0, 0, 0) if os.getuid() else None),
    "mount": in_child(lambda: (called(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)), libc.umount(b"/mnt"))),
    "user_namespace": in_child(lambda: called(libc.unshare(CLONE_NEWUSER))),
    "mount_namespace": in_child(lambda: called(libc.unshare(CLONE_NEWNS))),
    "chroot": in_child(lambda: os.chroot("/")),
    "mknod": in_child(lambda: (os.mknod("/tmp/probe-node", stat.S_IFBLK | 0o600, os.makedev(254, 0)), os.remove("/tmp/probe-node"))),
    "keyring": in_child(lambda: called(libc.syscall(SYS_add_key, b"user", b"probe", b"x", ctypes.c_size_t(1), -2))),
    "kernel_log": tried(lambda: called(libc.klogctl(3, ctypes.create_string_buffer(64), 64))),
    "raw_socket": tried(raw_socket),
    "kernel_secrets": {path: reads(path) for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/dev/mem")},
    "kernel_settings": {path: opens(path, os.O_WRONLY) for path in
                        ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/sys/kernel/uevent_helper")},
    "own_cgroup": tried(makes_cgroup),
    "root": {path: writes(f"{path}/probe-write") for path in ("", "/bin", "/etc", "/opt/runner", "/usr/lib", "/var/tmp")},
    "gateway_dir": writes("/run/mgx/probe-write"),
    "block_devices": sorted(name for name in os.listdir("/dev") if stat.S_ISBLK(os.stat(f"/dev/{name}").st_mode)),
    "mounts": sorted(f"{path} {'ro' if 'ro' in options else 'rw'}" for _, path, options, _ in mounts() if not is_usual(path)),
    "host_paths": host_paths(), "host_paths_here": [path for path in host_paths() if os.path.lexists(path)],
    **walk(),
    "processes": names_of_processes(), "key_seen": reads_key(), "secrets": secrets(),
    "environment": sorted(os.environ),
    "credentials": sorted(name for name, value in os.environ.items() if "://" in value and "@" in value),
    "interfaces": sorted(name for _, name in socket.if_nameindex()), "reaches": reaches(),
    "core": "unlimited" if core == resource.RLIM_INFINITY else core,
    "tmp_bytes": fills("/tmp", 160 * MIB), "home_bytes": fills(os.path.expanduser("~"), 160 * MIB),
    "pids": forks(600), "cores": cpu_share(), "allocates": allocates(1 << 29),
}
print(json.dumps(findings))
