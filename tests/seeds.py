#!/usr/bin/env python3
"""Run a Catch2 program once for each seed of a range, with TULP_SEED set, and name the seeds that fail.

usage: seeds.py FIRST LAST PROGRAM [ARGUMENT...]
"""
import os
import subprocess
import sys

LIMIT_SECONDS = 300   # for one seed


def run(seed, command):
    """What is wrong with this seed, or nothing."""
    try:
        done = subprocess.run(command, env={**os.environ, "TULP_SEED": str(seed)}, text=True, timeout=LIMIT_SECONDS,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode() + f"not done after {LIMIT_SECONDS} s\n"
    return "" if done.returncode == 0 else done.stdout + f"exit code {done.returncode}\n"


def main():
    first, last, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    failed = []
    for seed in range(first, last + 1):
        if complaint := run(seed, command):
            failed.append(str(seed))
            print(f"== TULP_SEED={seed}\n{complaint}", flush=True)
    print(f"{last - first + 1 - len(failed)} seeds passed, {len(failed)} failed" + (": " if failed else "") +
          " ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
