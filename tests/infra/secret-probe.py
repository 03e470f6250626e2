"""Run inside a container by the user of the agent: tries to get at other processes' secrets.

secret-probe.py SECRET... < job: prints one JSON object {pid: {name, environ, memory, descriptors, ptrace, debugger}},
each "denied" or what was got, for the first process of the container, the runner, and every plain node.
"""
import ctypes, json, os, signal, socket, sys, time

secrets = [word.encode() for word in sys.argv[1:]]
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def attempt(action):
    try:
        return action() or "nothing"
    except OSError as error:
        return "denied" if error.errno in (1, 13) else f"errno {error.errno}"


def environ(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        data = file.read()
    return "secret" if any(secret in data for secret in secrets) else "readable"


def memory(pid):
    with open(f"/proc/{pid}/mem", "r+b", buffering=0):
        return "open"


def descriptors(pid):
    return "readable" if [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")] else ""


def ptrace(pid):
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return "attached"


def listening(port=9229):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def debugger(pid):
    os.kill(pid, signal.SIGUSR1)
    deadline = time.time() + 3
    while time.time() < deadline:
        if listening():
            return "open"
        time.sleep(0.1)
    os.kill(pid, 0)
    return "denied"


def command_line(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


found = {}
for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
    try:
        line = command_line(pid)
    except OSError:
        continue
    if pid != 1 and b"node" not in line:
        continue
    tries = [environ, memory, descriptors, ptrace] + ([debugger] if b"node" in line and pid != 1 else [])
    found[pid] = {"command": line.replace(b"\0", b" ").decode().strip(), **{f.__name__: attempt(lambda: f(pid)) for f in tries}}
print(json.dumps(found))
