#!/bin/sh
# Installs what is missing, says what it does, and ends silently with 0 when nothing is missing.
#
#   tools/setup.sh demo   what `make demo` needs: arm gcc, QEMU, Python with the extra [demo]
#   tools/setup.sh dev    what `make test` needs besides: host compilers, valgrind, the extras [dev] and, on 3.11, [train]
#
# Debian packages are installed as root; anyone else is told the one line to run. A stamp in .venv, made of
# pyproject.toml, the Python version and this folder, keeps pip (and the network) out while nothing has changed.
set -eu
unset CDPATH
cd "$(dirname "$0")/.."
level=${1:-demo}
venv=.venv
seglearn=seglearn==1.2.5 # data of the demo; its dependencies (pandas, scikit-learn) are not needed

say() { echo "setup: $*" >&2; }
fail() { echo "error: $1" >&2; echo "hint: ${2:-}" >&2; exit 6; }
has() { command -v "$1" >/dev/null 2>&1; }

# The first of PYTHON, python3.11 (the one with TensorFlow wheels), python3, newer ones that is 3.11 or later.
find_python() {
    for name in ${PYTHON:-} python3.11 python3 python3.12 python3.13 python3.14; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
}

# Names of the Debian packages whose contents are not there; asked by program, so other ways to install them count.
missing_packages() {
    has qemu-system-arm || echo qemu-system-arm
    has arm-none-eabi-gcc || echo gcc-arm-none-eabi
    case $(arm-none-eabi-gcc -print-file-name=nano.specs 2>/dev/null) in */*) ;; *) echo libnewlib-arm-none-eabi ;; esac
    if [ ! -x $venv/bin/python ]; then
        python=$(find_python)
        if [ -z "$python" ]; then
            echo python3 python3-venv
        elif ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            echo python3-venv
        fi
    fi
    [ "$level" = dev ] || return 0
    has gcc || echo gcc
    echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1 || echo libc6-dev
    has git || echo git
    has clang-14 || echo clang-14
    ls /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 || echo libclang-rt-14-dev
    has valgrind || echo valgrind
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0
    has apt-get || fail "not installed: $packages" "install what your system calls these Debian packages"
    if [ "$(id -u)" != 0 ]; then
        fail "Debian packages are missing: $packages" \
            "sudo apt-get install --no-install-recommends $packages"
    fi
    say "installing Debian packages: $packages"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if ! { apt-get update -q && apt-get install -yq --no-install-recommends $packages; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install them" "the lines above are the end of $log"
    fi
    rm -f "$log"
}

# What the environment was made of; a moved folder has wrong paths in its scripts.
inputs() {
    { pwd; echo "$1 $seglearn"; $venv/bin/python -V; cat pyproject.toml; } 2>/dev/null | cksum
}

up_to_date() {
    [ -x $venv/bin/tinyfl ] || return 1
    for done in "$@"; do
        [ ! -f $venv/tinyfl-$done.stamp ] || [ "$(cat $venv/tinyfl-$done.stamp)" != "$(inputs "$done")" ] || return 0
    done
    return 1
}

install_python() {
    if [ "$level" = demo ]; then up_to_date demo dev && return 0; else up_to_date dev && return 0; fi
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
    python=$(find_python)
    if ! $venv/bin/python -c 'import pip' >/dev/null 2>&1; then
        [ -n "$python" ] || fail "no Python 3.11 or later was found" "install it, or name it: make setup PYTHON=..."
        say "making $venv with $("$python" -V)"
        "$python" -m venv --clear $venv </dev/null || fail "$python could not make $venv" "apt-get install python3-venv"
    fi
    extras=$level
    if [ "$level" = dev ] && $venv/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
        extras=dev,train # minutes and 1.5 GB: TensorFlow
    fi
    say "installing tinyfl[$extras] into $venv"
    rm -f $venv/tinyfl-"$level".stamp
    pip="$venv/bin/python -m pip install -q"
    log=$(mktemp) # pip also complains there of what --no-deps left out
    if ! { $pip -e ".[$extras]" && $pip --no-deps "$seglearn"; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "pip could not install tinyfl[$extras]" "the lines above are the end of $log; it needs a package index"
    fi
    rm -f "$log"
    inputs "$level" >$venv/tinyfl-"$level".stamp
}

# Monocypher's C, once a checkout: later builds need no network. Without it the first build says what is wrong.
fetch_sources() {
    fetch='from tinyfl_host.thirdparty import fetch; fetch("monocypher")'
    $venv/bin/python -c "$fetch" >/dev/null 2>&1 || say "Monocypher could not be fetched; the first build tries again"
}

case $level in demo | dev) ;; *) fail "no level $level" "tools/setup.sh demo or dev" ;; esac
install_packages
install_python
fetch_sources
