# Is this a machine that can run the guest? Installs what is missing when root.
# shellcheck shell=bash

# Packages that the programs of these suites are built with, one per line of their files
# `packages`, as far as they are missing.
missing_packages() {
    local suite package
    for suite in "$@"; do
        cat "$vm_dir/suites/$suite/packages" 2>/dev/null || true
    done | sed 's/#.*//; /^ *$/d' | sort -u | while read -r package; do
        dpkg-query --show "$package" >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

# The guest is this Debian whatever the host's is; only a Debian 12 host has its
# kernel package at hand, and programs built there run in it.
readonly SUITE=bookworm

readonly HOST_PACKAGES=(
    qemu-system-x86 mmdebstrap libarchive-tools cpio kmod xz-utils
)
readonly HOST_PROGRAMS=(
    qemu-system-x86_64 mmdebstrap bsdtar cpio depmod xz
)

missing_programs() {
    local program
    for program in "${HOST_PROGRAMS[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

kernel_package() {
    apt-cache show --no-all-versions linux-image-amd64 2>/dev/null |
        sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1
}

# Arguments: the suites.
check_prerequisites() {
    local packages
    [ "$(uname -sm)" = "Linux x86_64" ] || skip "the guest is for x86_64 Linux, this is $(uname -sm)"
    # shellcheck source=/dev/null
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = "$SUITE" ] ||
        skip "the guest is made from the packages of Debian 12; this host is another system"

    if [ -n "$(missing_programs)" ]; then
        [ "$(id -u)" = 0 ] ||
            skip "missing: $(missing_programs)(as root: apt-get install ${HOST_PACKAGES[*]})"
        say "installing ${HOST_PACKAGES[*]}"
        { quiet_apt install "${HOST_PACKAGES[@]}" || { quiet_apt update && quiet_apt install "${HOST_PACKAGES[@]}"; }; } ||
            skip "apt cannot install ${HOST_PACKAGES[*]} (see $cache/apt.log)"
    fi
    packages=$(missing_packages "$@")
    if [ -n "$packages" ]; then
        [ "$(id -u)" = 0 ] || skip "missing: $packages(as root: apt-get install $packages)"
        say "installing $packages"
        # shellcheck disable=SC2086
        { quiet_apt install $packages || { quiet_apt update && quiet_apt install $packages; }; } ||
            skip "apt cannot install $packages (see $cache/apt.log)"
    fi
    if [ -z "$(kernel_package)" ] && [ "$(id -u)" = 0 ]; then
        quiet_apt update || true
    fi
    [ -n "$(kernel_package)" ] || skip "apt knows no linux-image-amd64; run apt-get update as root"
}

# Takes turns with other steps of tests/run.
quiet_apt() {
    local verb=$1
    shift
    DEBIAN_FRONTEND=noninteractive flock /run/lock/hasher-apt apt-get "$verb" --yes --no-install-recommends "$@" \
        >"$cache/apt.log" 2>&1
}

# The checksum of what is piped in: what a cache entry was built from.
key_of() { sha256sum | cut -d ' ' -f 1; }
