#!/usr/bin/env bash
# Print the Python to build the virtual environment with: one of 3.11 to 3.13 that can make one.
# PYTHON=/path/to/python overrides the search. Exits 1, saying what to do, where there is none.
set -u

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

{
    if [ -n "${PYTHON:-}" ]; then
        echo "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 with the venv and ensurepip modules."
    else
        echo "No Python 3.11, 3.12 or 3.13 with the venv and ensurepip modules was found."
    fi
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3;"
    echo "macOS: brew install python@3.13), or name it: make PYTHON=/path/to/python3.12"
} >&2
exit 1
