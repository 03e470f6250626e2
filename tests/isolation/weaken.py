"""Makes a weak container weaker still: whatever probe.py looks for is then there to be found. Run as its root, with NET_ADMIN."""
import fcntl, os, shutil, socket, stat, struct, subprocess, sys

SIOCSIFADDR = 0x8916


def add_address(interface, address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sHH4s8x", interface.encode(), socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, SIOCSIFADDR, request)


def add_address6(address):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        index = socket.if_nametoindex("lo")
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, address), 128, index))


for number, address in enumerate(["169.254.169.254", "100.100.100.200", "172.17.0.1"]):
    add_address(f"lo:{number + 1}", address)
if sys.argv[1] == "ipv6":
    add_address6("fd00:ec2::254")
os.makedirs("/run/mgx", exist_ok=True)
os.mknod("/dev/probe-block", stat.S_IFBLK | 0o600, os.makedev(254, 0))
shutil.copy("/bin/true", "/usr/local/bin/set-id")
os.chmod("/usr/local/bin/set-id", 0o4755)
shutil.copy("/bin/sleep", "/usr/local/bin/stranger")
subprocess.Popen(["/usr/local/bin/stranger", "600"])
