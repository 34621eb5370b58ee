# What lies over the guest's root: the runner, the chosen suites, their programs.
# shellcheck shell=bash

# Units that cost boot time and that no suite needs.
readonly MASKED_UNITS=(
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    sys-fs-fuse-connections.mount sys-kernel-config.mount
    modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service
    kmod-static-nodes.service systemd-firstboot.service systemd-hwdb-update.service
    systemd-machine-id-commit.service systemd-binfmt.service systemd-pstore.service
    systemd-boot-system-token.service systemd-repart.service systemd-update-done.service
    systemd-update-utmp.service systemd-network-generator.service systemd-timesyncd.service
    systemd-random-seed.service systemd-udev-trigger.service systemd-udev-settle.service systemd-ask-password-console.path
    systemd-ask-password-wall.path getty.target ldconfig.service
)

# Leaves $cache/overlay.cpio. Arguments: the suites, in the order they run.
prepare_overlay() {
    local stage=$cache/overlay suite unit program
    rm -rf "$stage" && mkdir -p "$stage/usr/lib/hasher-vm/"{bin,suites} "$stage/etc/systemd/system"
    cp --recursive --no-dereference "$vm_dir/guest/." "$stage/"
    for unit in "${MASKED_UNITS[@]}"; do
        ln --symbolic /dev/null "$stage/etc/systemd/system/$unit"
    done
    printf '%s\n' "$@" >"$stage/usr/lib/hasher-vm/suites/list"
    for suite in "$@"; do
        cp --recursive "$vm_dir/suites/$suite" "$stage/usr/lib/hasher-vm/suites/"
        [ ! -d "$vm_dir/suites/$suite/overlay" ] ||
            cp --recursive --dereference "$vm_dir/suites/$suite/overlay/." "$stage/"
    done
    for suite in "$@"; do
        cat "$vm_dir/suites/$suite/programs" 2>/dev/null || true
    done | sed 's/#.*//; /^ *$/d' | sort -u >"$cache/programs"
    while read -r program; do
        # shellcheck disable=SC2086
        build_program "$stage/usr/lib/hasher-vm/bin" $program
    done <"$cache/programs"
    for suite in "$@"; do
        [ ! -x "$vm_dir/suites/$suite/prepare" ] || "$vm_dir/suites/$suite/prepare" "$stage"
    done
    pack_cpio "$stage" >"$cache/overlay.cpio"
}

# `build_program DIR bin PACKAGE NAME [cargo options]` builds a binary,
# `build_program DIR test PACKAGE NAME [...]` an integration test of that package.
# `NAME:OTHER` installs it under another name. Host and guest are the same Debian, so what
# runs here runs there.
build_program() {
    local dir=$1 kind=$2 package=$3 name=${4%%:*} as=${4##*:} executable
    shift 4
    say "building $kind $name of $package"
    # All packages and a test are selected so that libraries have the features that they
    # have in the workspace's own tests: what those have built is used again.
    executable=$(cd "$repository" &&
        cargo build --quiet --workspace --test kernel "--$kind" "$name" "$@" \
            --message-format=json-render-diagnostics |
        grep "\"kind\":\[\"$kind\"\].*\"name\":\"$name\"" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
    [ -n "$executable" ] || fail "cargo did not build $kind $name of $package"
    strip -o "$dir/$as" "$executable"
}
