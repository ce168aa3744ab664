"""The settings of the embedded server, fitted to this machine.

Invariant: what an operator sets with ALTER SYSTEM wins; what makes commits durable is on.
"""

import hashlib
import os
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 107
MEBIBYTE = 1 << 20

SETTINGS = """\
# Written by Earnest at every start of the server. For changes of your own use ALTER SYSTEM.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 200

# Nothing that was acknowledged is ever lost.
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = off
commit_delay = 0

# Measured: few checkpoints, and a recovery that stays well below two minutes.
shared_buffers = '{shared_buffers_mb}MB'
effective_cache_size = '{effective_cache_mb}MB'
max_wal_size = '2GB'
checkpoint_timeout = '15min'
jit = off

# A week of logs. Terse: details of an error would carry names and addresses of people.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = '1d'
log_truncate_on_rotation = on
log_error_verbosity = terse
log_line_prefix = '%m [%p] %q%a '
log_timezone = 'UTC'
timezone = 'UTC'
"""


def render(socket_dir: Path, port: int) -> str:
    """The text of earnest.conf."""
    memory_mb = memory_bytes() // MEBIBYTE
    # A list of directories: double quotes keep blanks and commas, doubled single ones the rest.
    quoted = '"{}"'.format(str(socket_dir).replace('"', '""').replace("'", "''"))
    return SETTINGS.format(
        port=port,
        socket_dir=quoted,
        shared_buffers_mb=max(32, min(memory_mb // 4, 4096)),
        effective_cache_mb=max(64, memory_mb // 2),
    )


def memory_bytes() -> int:
    """The memory of this machine, or of the control group this process is limited to."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
    except OSError:
        group = ""
    here = Path("/sys/fs/cgroup") / group
    limits += [parent / "memory.max" for parent in (here, *here.parents)]
    for path in limits:
        try:
            found = min(found, int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return found


def socket_dir(data_dir: Path, port: int) -> Path:
    """The directory of the socket: DIR/run, or below /tmp where that cannot carry one.

    A socket's path has 107 bytes at most, a comma would separate two hosts in a URL, and some
    shared folders hold no sockets.
    """
    beside = data_dir / "run"
    path = f"{beside}/.s.PGSQL.{port}"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and "," not in path:
        return beside
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    return Path("/tmp", f"earnest-{digest}")  # noqa: S108  its owner is checked
