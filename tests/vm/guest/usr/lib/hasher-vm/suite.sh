# Sourced by suites that are shell scripts: waiting, comparing, plugging.
# shellcheck shell=bash
set -Eeuo pipefail

trap 'echo "FAILED in line $LINENO: $BASH_COMMAND"' ERR

# Guest seconds; every wait of a suite has such a bound.
readonly PATIENCE=10
readonly DEVICES=/sys/bus/usb/devices
readonly EMULATOR_SOCKET=/run/usb-emulator

# `must "sentence" COMMAND...`: the sentence holds if the command succeeds.
must() {
    local sentence=$1
    shift
    if "$@"; then
        echo "ok: $sentence"
    else
        echo "NOT SO: $sentence ($*)"
        exit 1
    fi
}

# `same "sentence" GOT WANTED`
same() {
    [ "$2" = "$3" ] || { echo "NOT SO: $1: got \"$2\", want \"$3\""; exit 1; }
    echo "ok: $1"
}

# `soon "sentence" COMMAND...`: succeeds within PATIENCE.
soon() { patiently "$PATIENCE" "$@"; }

# `patiently SECONDS "sentence" COMMAND...`; looks a hundred times at most, because looking
# costs much and sleeping nothing.
patiently() {
    local seconds=$1 sentence=$2 deadline
    shift 2
    read_uptime
    deadline=$((uptime_cs + seconds * 100))
    until "$@" 2>/dev/null; do
        read_uptime
        if [ "$uptime_cs" -gt "$deadline" ]; then
            echo "NOT SO within $seconds s: $sentence ($*)"
            exit 1
        fi
        pause $((seconds * 10))
    done
    echo "ok: $sentence"
}

# Starting a process costs an emulated processor tens of milliseconds, so what is
# repeated does without.

# Leaves the time since boot in $uptime_cs, in hundredths of a second.
read_uptime() {
    local seconds
    read -r seconds _ </proc/uptime
    uptime_cs=$((10#${seconds/./}))
}

# Commands that undo what a suite did to the guest, because other suites share this boot;
# the newest runs first. `at_exit COMMAND [ARGUMENT...]`
undo=()
at_exit() { undo+=("$(printf '%q ' "$@")"); }
undo_all() {
    local step
    for ((step = ${#undo[@]} - 1; step >= 0; step--)); do
        eval "${undo[step]}" || echo "cannot undo: ${undo[step]}"
    done
}
trap undo_all EXIT

# Some milliseconds, below 1000: a read from a pipe in which nothing ever comes.
exec {silence}<> <(:)
pause() {
    local text
    printf -v text '0.%03d' "$1"
    read -r -t "$text" -u "$silence" _ || true
}

# The first line of a file of sysfs.
file_says() {
    local text
    read -r text <"$1" && [ "$text" = "$2" ]
}

product_is() { file_says "$DEVICES/$1/idProduct" "$2"; }

gone() { [ ! -e "$DEVICES/$1" ]; }

# The usbfs node of a device such as 1-1.
node_of() { printf '/dev/bus/usb/%03d/%03d' "$(cat "$DEVICES/$1/busnum")" "$(cat "$DEVICES/$1/devnum")"; }

driver_of() { basename "$(readlink "$DEVICES/$1/driver" || echo none)"; }

emulator() { hasher-usb-emulator send "$EMULATOR_SOCKET" "$@"; }

# From now on a driver of the kernel takes every running board.
take_by_kernel_driver() {
    modprobe usbserial
    at_exit modprobe --remove usbserial
    echo 4254 4153 >/sys/bus/usb-serial/drivers/generic/new_id
}

# Starts the emulator with these commands; it ends with the suite.
start_emulator() {
    modprobe vhci-hcd
    hasher-usb-emulator serve "$EMULATOR_SOCKET" "$@" &
    soon "the emulator answers" emulator list
}
