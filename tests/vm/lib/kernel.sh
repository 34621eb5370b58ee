# The stock kernel and the few of its modules that the suites use.
# shellcheck shell=bash

# usbip and vhci: boards on a virtual cable; dummy_hcd and gadgetfs: boards behind a
# real gadget stack; usbserial: a kernel driver that is in the way; the rest: logs out.
readonly MODULES=(
    virtio_pci 9pnet_virtio 9p
    usbcore usbip-core vhci-hcd usbserial usbmon
    udc-core dummy_hcd gadgetfs
)

# Leaves $kernel_dir with `vmlinux` and `modules.cpio`.
prepare_kernel() {
    local package key
    package=$(kernel_package)
    key=$( { apt-cache show --no-all-versions "$package" | grep '^SHA256'; cat "$vm_dir/lib/kernel.sh"; } | key_of)
    kernel_dir=$cache/kernel
    [ "$(cat "$kernel_dir/key" 2>/dev/null)" != "$key" ] || return 0

    say "kernel: downloading and unpacking $package"
    rm -rf "$kernel_dir" && mkdir -p "$kernel_dir/tree"
    (cd "$kernel_dir" && apt-get download "$package" >download.log 2>&1) ||
        { cat "$kernel_dir/download.log" >&2; skip "apt cannot download $package"; }
    dpkg-deb --extract "$kernel_dir"/linux-image-*.deb "$kernel_dir/tree"
    unpack_vmlinux "$kernel_dir"/tree/boot/vmlinuz-* >"$kernel_dir/vmlinux"
    pack_modules
    rm -rf "$kernel_dir/tree" "$kernel_dir"/linux-image-*.deb
    echo "$key" >"$kernel_dir/key"
}

# Little-endian number of $3 bytes at offset $2 of file $1.
number_at() { od --address-radix=n --skip-bytes=$(($2)) --read-bytes="$3" --format="u$3" "$1" | tr -d ' '; }

# The ELF kernel inside a compressed image. QEMU starts it directly, which saves
# seconds of emulated self-extraction. Offsets: Linux, Documentation/arch/x86/boot.rst.
unpack_vmlinux() {
    local image=$1 offset length
    offset=$((($(number_at "$image" 0x1f1 1) + 1) * 512 + $(number_at "$image" 0x248 4)))
    length=$(number_at "$image" 0x24c 4)
    # The last 4 bytes are the unpacked size, not part of the xz stream.
    dd if="$image" iflag=skip_bytes,count_bytes skip=$offset count=$((length - 4)) bs=1M status=none |
        xz --decompress --stdout
}

pack_modules() {
    local version module path stage
    version=$(basename "$kernel_dir"/tree/lib/modules/*)
    stage=$kernel_dir/stage
    PATH=$PATH:/usr/sbin:/sbin depmod --basedir "$kernel_dir/tree" "$version"
    for module in "${MODULES[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin modprobe --dirname "$kernel_dir/tree" --set-version "$version" \
            --show-depends "$module" | sed -n 's/^insmod //p'
    done | sort -u | while read -r path; do
        path=${path#"$kernel_dir/tree/"}
        install -D --mode=644 "$kernel_dir/tree/$path" "$stage/usr/$path"
    done
    cp "$kernel_dir/tree/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} \
        "$stage/usr/lib/modules/$version/"
    PATH=$PATH:/usr/sbin:/sbin depmod --basedir "$stage/usr" "$version"
    pack_cpio "$stage" >"$kernel_dir/modules.cpio"
    rm -rf "$stage"
}

# A directory as an initramfs archive owned by root, on standard output.
pack_cpio() { (cd "$1" && find . -mindepth 1 -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --quiet); }
