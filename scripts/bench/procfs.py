"""What the kernel says about a process: CPU time and resident memory."""

import os

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """(user, system) CPU seconds of the process with all its threads, the ended ones too."""
    with open(f"/proc/{pid}/stat") as file:
        # The command's name may hold spaces: fields are counted from the closing parenthesis.
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise ValueError(f"no VmRSS for process {pid}")
