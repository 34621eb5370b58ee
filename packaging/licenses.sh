# The licences of what is linked into the programs. Sourced by `build`.
# shellcheck shell=bash

# The texts that the crates' authors want to be handed on with their work.
# Argument: the target.
third_party_licenses() {
    local home=${CARGO_HOME:-$HOME/.cargo} package license name version folder text
    echo "Hasher contains the following crates, from https://crates.io."
    cargo tree --locked --quiet --target "$1" --edges normal --no-dedupe --prefix none \
        --format '{p}|{l}' --package hasher-daemon --package hasher-cli --features hasher-daemon/udev |
        grep -v -e '^$' -e '^hasher-' -e '(proc-macro)' | LC_ALL=C sort -u |
        while IFS='|' read -r package license; do
            read -r name version folder <<<"$package"
            version=${version#v}
            printf '\n==== %s %s: %s\n' "$name" "$version" "$license"
            if [ -n "$folder" ]; then # a crate that lies in this repository, with its path
                folder=${folder#(} folder=${folder%)}
                echo "Changed as ${folder#"$(pwd -P)/"}/README.md in the sources says."
            else
                folder=$(find "$home/registry/src" -mindepth 2 -maxdepth 2 -name "$name-$version" | head -n 1)
            fi
            [ -n "$folder" ] || fail "cargo has no sources of $name $version" "cargo fetch"
            for text in "$folder"/LICEN[CS]E* "$folder"/COPYING* "$folder"/COPYRIGHT* "$folder"/NOTICE*; do
                [ ! -f "$text" ] || { printf '\n'; cat "$text"; }
            done
        done
}
