# The daemon under its own unit, for suites about boards and the daemon. Sourced after
# suite.sh. Everything is undone at the end: other suites share this boot.
# shellcheck shell=bash

readonly SOCKET=/run/hasher/hasherd.sock
readonly UNITS=/usr/lib/hasher-vm/units

# Bitcoin's block 0. Emulated boards know its nonce, so that an emulated processor need
# not search for it.
readonly BLOCK=0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c

# Starts the daemon's socket; the daemon comes with the first board or client.
# Arguments: its device, and the program if it is not `hasherd` in the path.
install_daemon() {
    cp "${2:-$(command -v hasherd)}" /usr/sbin/hasherd
    cp $UNITS/hasherd.service $UNITS/hasherd.socket /run/systemd/system/
    mkdir -p /run/systemd/system/hasherd.service.d
    printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/usr/sbin/hasherd --device %s\n' \
        "$1" >/run/systemd/system/hasherd.service.d/vm.conf
    # Suites before this one had daemons of the same name in the same journal.
    log_begins=@$EPOCHREALTIME
    at_exit remove_daemon
    systemctl daemon-reload
    systemctl start hasherd.socket
}

remove_daemon() {
    daemon_log >"$SHARE/$(basename "$PWD")-hasherd.log"
    systemctl stop hasherd.socket hasherd.service
    rm -rf /run/systemd/system/hasherd* /usr/sbin/hasherd
    systemctl daemon-reload
}

# The daemon's log since the suite installed it. By time, because journalctl 252 skips the
# first line that it should show after a cursor on another unit's line.
daemon_log() { log_since "$log_begins" "$@"; }

# `log_since MOMENT [OPTION OF JOURNALCTL...]`
log_since() {
    local moment=$1
    shift
    journalctl --sync # what was said is written
    journalctl --unit=hasherd --since="$moment" --output=cat --no-pager --quiet "$@"
}

daemon_pid() { systemctl show --property=MainPID --value hasherd; }

status() { hasher --json --socket $SOCKET status; }

# The part of the status about a board in a port of the virtual controller. In bash
# alone, because every process costs an emulated processor much time.
board() {
    local text
    text=$(status)
    text=${text#*\"id\": \"platform-vhci_hcd.0-usb-0:"$1"\",}
    echo "${text%%\}*}"
}

state_is() {
    local text
    text=$(status)
    [[ $text =~ \"id\":\ \"platform-vhci_hcd.0-usb-0:$1\",[[:space:]]*\"kind\":\ \"[a-z]*\",[[:space:]]*\"state\":\ \"$2\" ]]
}

# Whether the status has this text about a board.
explains() { [[ $(board "$1") == *"$2"* ]]; }

finds_nonce() {
    hasher --socket $SOCKET search --header $BLOCK --deadline 20s >/dev/null
}

# Begins a new part of the log, of which `lines` counts.
mark_log() { log_part=@$EPOCHREALTIME; }

# How many lines of this part of the daemon's log match.
lines() { log_since "$log_part" | grep -cE "$1" || true; }

# `said "sentence" PATTERN`: this part of the log has one line like this, and no other
# that asks for a person's attention.
said() {
    same "$1, in one line" "$(lines "$2")" 1
    same "and nothing else is complained about" \
        "$(log_since "$log_part" --priority=warning | grep -vE "$2" || true)" ""
}

# `idles "sentence" SECONDS`: it takes less than 2 % of a processor for so long.
idles() {
    local before after thousandths
    before=$(systemctl show --property=CPUUsageNSec --value hasherd)
    sleep "$2"
    after=$(systemctl show --property=CPUUsageNSec --value hasherd)
    thousandths=$(((after - before) / (1000000 * $2)))
    must "$1 ($thousandths thousandths of a processor)" test $thousandths -lt 20
}

# Keeps jobs in flight from now until `stop_asking`, which fails if one of them was lost,
# answered twice or answered wrongly.
start_asking() {
    busy-client $SOCKET "$@" >/run/busy-client.log 2>&1 &
    busy_client=$!
}

stop_asking() {
    local code=0
    kill -TERM "$busy_client" || true # it ended by itself, and says why
    wait "$busy_client" || code=$?
    cat /run/busy-client.log
    must "every job was answered once, rightly, or may be repeated" test $code = 0
}

driver_is() { [ "$(driver_of "$1")" = "$2" ]; }

# Hundredths of a second since a moment.
since() { read_uptime; echo $((uptime_cs - $1)); }

# `within "sentence" HUNDREDTHS BEGUN`
within() {
    local took
    took=$(since "$3")
    [ "$took" -le "$2" ] || { echo "NOT SO: $1: it took $took of $2 hundredths of a second"; exit 1; }
    echo "ok: $1 ($took hundredths of a second)"
}

# How often a text is in the daemon's log.
logged() { daemon_log | grep -c "$1" || true; }
