"""A virtual machine may have lent its free memory to the host, and then waits for the first use of each page (4x slower on one
machine). Touching most of it before a run lets both sides of a comparison find memory that is there, as on real hardware."""

import subprocess
import sys

TOUCH = """
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]))
memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(memory), 4096):
    memory[at] = 1
"""


def populate_free_memory():
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemFree")) * 1024
    subprocess.run([sys.executable, "-c", TOUCH, str(int(0.98 * free))], check=True)
