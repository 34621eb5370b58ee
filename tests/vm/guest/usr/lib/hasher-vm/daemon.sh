# The daemon under its own unit, for suites about boards and the daemon. Sourced after
# suite.sh. Everything is undone at the end: other suites share this boot.
# shellcheck shell=bash

readonly SOCKET=/run/hasher/hasherd.sock
readonly UNITS=/usr/lib/hasher-vm/units

# Starts the daemon's socket; the daemon comes with the first board or client.
# Argument: its device, for chips that filter for so few zero bits that an emulated
# processor keeps up.
install_daemon() {
    cp "$(command -v hasherd)" /usr/sbin/hasherd
    cp $UNITS/hasherd.service $UNITS/hasherd.socket /run/systemd/system/
    mkdir -p /run/systemd/system/hasherd.service.d
    printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/usr/sbin/hasherd --device %s\n' \
        "$1" >/run/systemd/system/hasherd.service.d/vm.conf
    trap remove_daemon EXIT
    systemctl daemon-reload
    systemctl start hasherd.socket
}

remove_daemon() {
    echo "# the daemon's log"
    journalctl --unit=hasherd --output=cat --no-pager | tail -n 200
    systemctl stop hasherd.socket hasherd.service
    rm -rf /run/systemd/system/hasherd* /usr/sbin/hasherd
    systemctl daemon-reload
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
    hasher --socket $SOCKET search --header "$(printf '00%.0s' {1..80})" --zero-bits 8 \
        --deadline 20s >/dev/null
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
logged() { journalctl --unit=hasherd --output=cat --no-pager | grep -c "$1" || true; }
