# The guest's root: a small Debian, as an initramfs archive.
# shellcheck shell=bash

# libnss-systemd gives the users of `DynamicUser=` their names.
readonly GUEST_PACKAGES=systemd,systemd-sysv,libnss-systemd,udev,dbus,polkitd,kmod

# Pulled in by polkitd's installation or never read by a test; unpacking it would
# cost time at each boot.
readonly UNWANTED=(
    usr/share/{doc,man,info,locale,i18n,zoneinfo,perl,perl5,sgml,xml,lintian,bash-completion,zsh}
    usr/lib/x86_64-linux-gnu/{perl,perl5,perl-base,gconv}
    usr/lib/x86_64-linux-gnu/libperl.so.5.36 usr/lib/x86_64-linux-gnu/libperl.so.5.36.0
    usr/lib/udev/hwdb.d usr/lib/udev/hwdb.bin usr/bin/perl usr/bin/perl5.36.0
    usr/lib/systemd/{system,user}-generators
    usr/lib/apt usr/lib/dpkg var/lib/dpkg var/lib/apt var/cache var/log
)

# The address from which apt gets this suite's packages on the host.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $SUITE" 'Identifier: Packages' 2>/dev/null | head -n 1)
    echo "${mirror:-http://deb.debian.org/debian}"
}

# Leaves $root_dir with `root.cpio`.
prepare_root() {
    local key unwanted
    key=$( { echo "$GUEST_PACKAGES"; cat "$vm_dir/lib/root.sh"; } | key_of)
    root_dir=$cache/root
    [ "$(cat "$root_dir/key" 2>/dev/null)" != "$key" ] || return 0

    say "root: installing $GUEST_PACKAGES into an archive (once, about 20 s of processor time)"
    rm -rf "$root_dir" && mkdir -p "$root_dir"
    unwanted=$(printf ' "$1"/%s' "${UNWANTED[@]}")
    mmdebstrap --variant=essential --include="$GUEST_PACKAGES" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="rm -rf $unwanted" \
        --customize-hook='ln -s usr/lib/systemd/systemd "$1/init"' \
        --customize-hook='mkdir -p "$1/var/log" "$1/var/cache"' \
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
