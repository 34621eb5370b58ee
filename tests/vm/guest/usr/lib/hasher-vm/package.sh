# The package, as an administrator installs it, and users beside it. Sourced after
# suite.sh. Everything is purged at the end: other suites share this boot.
# shellcheck shell=bash

readonly PACKAGES=/usr/lib/hasher-vm/packages
readonly SOCKET=/run/hasher/hasherd.sock

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes --no-install-recommends \
        --option Dpkg::Use-Pty=0 "$@" </dev/null
}

# dpkg is what apt calls, without apt's own seconds.
install_package() {
    trap purge_package EXIT
    dpkg --install "$PACKAGES/hasher.deb"
}

purge_package() {
    echo "# the daemon's log"
    journalctl --unit=hasherd --output=cat --no-pager | tail -n 200
    ! dpkg-query --status hasher >/dev/null 2>&1 || dpkg --purge hasher
}

# `settings LINE...` writes the configuration.
settings() {
    mkdir -p /etc/hasher
    printf '%s\n' "$@" >/etc/hasher/hasherd.toml
}

# alice may use the service, mallory has an account and nothing else.
create_users() {
    printf 'u alice - - /run/alice /bin/sh\nu mallory - - /run/mallory /bin/sh\nm alice hasher\n' |
        systemd-sysusers -
}

# `as USER COMMAND...`
as() {
    local user=$1
    shift
    setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs env HOME=/run "$@"
}

# Hundredths of a second from a moment to the last start of the daemon.
started_after() {
    local microseconds
    microseconds=$(systemctl show --property=ActiveEnterTimestampMonotonic --value hasherd)
    echo $((microseconds / 10000 - $1))
}

# Hundredths of a second from a moment to the last line of the daemon's log that has a
# text: `logged_after TEXT MOMENT`.
logged_after() {
    local line
    line=$(journalctl --unit=hasherd --output=short-monotonic --no-pager | grep "$1" | tail -n 1)
    [[ $line =~ ^\[\ *([0-9]+)\.([0-9][0-9]) ]]
    echo $((10#${BASH_REMATCH[1]}${BASH_REMATCH[2]} - $2))
}

unit_is() { [ "$(systemctl show --property=ActiveState --value "$1")" = "$2" ]; }

daemon_pid() { systemctl show --property=MainPID --value hasherd; }

# A new process serves; the argument is the old one's number.
daemon_replaced() {
    local pid
    pid=$(daemon_pid)
    [ "$pid" != 0 ] && [ "$pid" != "$1" ] && unit_is hasherd active
}

# Whether the status has a board in a port of the virtual controller in this state.
board_is() {
    local text
    text=$(hasher --json status)
    [[ $text =~ \"id\":\ \"platform-vhci_hcd.0-usb-0:$1\",[[:space:]]*\"kind\":\ \"[a-z]*\",[[:space:]]*\"state\":\ \"$2\" ]]
}

# Hundredths of a second since a moment.
since() { read_uptime; echo $((uptime_cs - $1)); }

# `within "sentence" HUNDREDTHS TOOK`
within() {
    [ "$3" -le "$2" ] || { echo "NOT SO: $1: it took $3 of $2 hundredths of a second"; exit 1; }
    echo "ok: $1 ($3 hundredths of a second)"
}

# `fails_with CODE "text" COMMAND...`: it ends with this code, and its message has the
# text.
fails_with() {
    local code=$1 text=$2 said got=0
    shift 2
    said=$("$@" 2>&1) || got=$?
    [ "$got" = "$code" ] && [[ $said == *"$text"* ]] && return
    echo "code $got: $said"
    return 1
}
