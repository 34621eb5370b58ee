# The guest's roots: small Debians, as initramfs archives.
# shellcheck shell=bash

# small: what boards and the daemon need. debian: with dpkg, apt, gdbus and Python, for
# suites that install packages or run scripts; it costs more to unpack at each boot.
readonly ROOTS=(small debian)

# The root a suite wants.
root_of() { cat "$vm_dir/suites/$1/root" 2>/dev/null || echo small; }

# libnss-systemd gives the users of `DynamicUser=` their names.
readonly GUEST_PACKAGES=systemd,systemd-sysv,libnss-systemd,udev,dbus,polkitd,kmod
readonly DEBIAN_PACKAGES=$GUEST_PACKAGES,apt,libglib2.0-bin,python3-dbus-next

# Pulled in by polkitd's installation or never read by a test; unpacking it would
# cost time at each boot.
readonly UNWANTED=(
    usr/share/{doc,man,info,locale,i18n,zoneinfo,perl,sgml,xml,lintian,bash-completion,zsh}
    usr/lib/x86_64-linux-gnu/{perl,gconv}
    usr/lib/x86_64-linux-gnu/libperl.so.5.36 usr/lib/x86_64-linux-gnu/libperl.so.5.36.0
    usr/lib/udev/hwdb.d usr/lib/udev/hwdb.bin
    usr/lib/systemd/{system,user}-generators
    var/cache var/log
)
# What installs packages, and the Perl of their scripts.
readonly UNWANTED_SMALL=(
    usr/share/perl5 usr/lib/x86_64-linux-gnu/{perl5,perl-base} usr/bin/perl usr/bin/perl5.36.0
    usr/lib/apt usr/lib/dpkg var/lib/dpkg var/lib/apt
)

# The address from which apt gets this suite's packages on the host.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $SUITE" 'Identifier: Packages' 2>/dev/null | head -n 1)
    echo "${mirror:-http://deb.debian.org/debian}"
}

# Leaves $root_dir with `root.cpio`. Argument: which root.
prepare_root() {
    local key packages=$GUEST_PACKAGES unwanted=("${UNWANTED[@]}")
    case $1 in
        small) unwanted+=("${UNWANTED_SMALL[@]}") ;;
        debian) packages=$DEBIAN_PACKAGES ;;
    esac
    key=$( { echo "$packages"; cat "$vm_dir/lib/root.sh"; } | key_of)
    root_dir=$cache/root-$1
    [ "$(cat "$root_dir/key" 2>/dev/null)" != "$key" ] || return 0

    say "root: installing $packages into an archive (once, about 20 s of processor time)"
    rm -rf "$root_dir" && mkdir -p "$root_dir"
    mmdebstrap --variant=essential --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="rm -rf$(printf ' "$1"/%s' "${unwanted[@]}")" \
        --customize-hook='rm -f "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap' \
        --customize-hook='ln -s usr/lib/systemd/systemd "$1/init"' \
        --customize-hook='mkdir -p "$1/var/log" "$1/var/cache/apt/archives/partial"' \
        "$SUITE" "$root_dir/root.tar" "$(debian_mirror)" >"$root_dir/mmdebstrap.log" 2>&1 ||
        root_failed
    bsdtar --create --format=newc --file "$root_dir/root.cpio" "@$root_dir/root.tar"
    rm "$root_dir/root.tar"
    echo "$key" >"$root_dir/key"
}

root_failed() {
    # Without root it depends on subordinate ids and on what user namespaces may do here.
    [ "$(id -u)" = 0 ] || skip "only root can build the guest's root here (see $root_dir/mmdebstrap.log)"
    cat "$root_dir/mmdebstrap.log" >&2
    fail "mmdebstrap could not build the guest's root"
}
