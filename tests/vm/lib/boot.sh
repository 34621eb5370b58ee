# One boot: QEMU, its bounds, and the verdict.
# shellcheck shell=bash

# Values the guest's runner writes to the debug-exit port; QEMU exits with 2n+1.
# Not 0 or 1, so that QEMU's own exit codes cannot be mistaken for a verdict.
readonly EXIT_PASSED=$((2 * 16 + 1))
readonly EXIT_FAILED=$((2 * 17 + 1))

# Enough for the archives (unpacked and packed, about 250 MB) and the suites.
readonly GUEST_MEMORY_MB=1024

# A /dev/kvm without one of these modules is not backed by hardware, and a stock
# kernel dies on what its software emulation lacks.
has_hardware_kvm() {
    [ -w /dev/kvm ] && { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }
}

acceleration_options() {
    case $1 in
        kvm) echo "-accel kvm -cpu host -smp 2" ;;
        # Guest time follows instructions, so that a busy host cannot make a guest's
        # time-outs fire, and idle time passes at once.
        icount) echo "-accel tcg -cpu Nehalem -smp 1 -icount shift=2,sleep=off" ;;
        smp) echo "-accel tcg,thread=multi -cpu Nehalem -smp 2" ;;
    esac
}

# Arguments: the root's name, then the suites. Fails when one of them did.
boot_guest() {
    local share=$cache/share/$1 serial=$cache/serial.log code=0 options started=$SECONDS
    shift
    if [ "$accel" = auto ]; then
        if has_hardware_kvm; then accel=kvm; else accel=icount; fi
    fi
    rm -rf "$share" && mkdir -p "$share"
    cat "$root_dir/root.cpio" "$kernel_dir/modules.cpio" "$cache/overlay.cpio" >"$cache/initramfs.cpio"
    options=$(acceleration_options "$accel")
    say "booting ($accel): $*"
    local TIMEFORMAT='%U + %S'
    # shellcheck disable=SC2086
    { time timeout --kill-after=10 "$time_limit" qemu-system-x86_64 \
        -M q35 -nodefaults -no-user-config -display none -no-reboot -m "$GUEST_MEMORY_MB" $options \
        -kernel "$kernel_dir/vmlinux" -initrd "$cache/initramfs.cpio" \
        -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off cryptomgr.notests rodata=off systemd.unit=hasher-vm.target systemd.show_status=no" \
        -serial "file:$serial" -device isa-debug-exit,iobase=0xf4,iosize=4 \
        -virtfs "local,path=$share,mount_tag=share,security_model=none" \
        </dev/null >"$cache/qemu.log" 2>&1 || code=$?; } 2>"$cache/qemu.time"
    rm -f "$cache/initramfs.cpio"
    [ ! -f "$share/report" ] || sed 's/^/vm: /' "$share/report"
    [ ! -f "$share/results" ] || sed 's/^/vm: /' "$share/results"
    local spent
    spent="$((SECONDS - started)) s ($(cat "$cache/qemu.time") s of processor time)"
    case $code in
        "$EXIT_PASSED") say "passed in $spent; logs in $share"; return 0 ;;
        "$EXIT_FAILED") spent="suites failed after $spent; logs in $share" ;;
        124 | 137) spent="no verdict within $time_limit s" ;;
        *) spent="no verdict: QEMU ended with code $code after $spent" ;;
    esac
    show_logs "$@"
    printf 'vm: error: %s\n' "$spent" >&2
    return 1
}

# Longest piece of each log that is shown, in lines; the files hold the rest.
readonly LOG_LINES=100

# The most telling last. Called by boot_guest, whose $share it reads.
show_logs() {
    local suite
    show_log "$cache/qemu.log"
    show_log "$cache/serial.log"
    show_log "$share/journal.log"
    for suite in "$@"; do
        if ! grep -q "^pass $suite " "$share/results" 2>/dev/null; then
            show_log "$share/$suite-hasherd.log"
            show_log "$share/$suite.log"
        fi
    done
}

show_log() {
    [ -s "$1" ] || return 0
    printf '%s\n' "---- last lines of $1" >&2
    tail -n "$LOG_LINES" "$1" | tr -d '\r' >&2
}
