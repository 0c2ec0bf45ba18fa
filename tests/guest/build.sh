#!/bin/bash
# tests/guest/build.sh [FOLDER]: build the guest's kernel with every feature that the tests use
# (PSI, cpuset, nftables, landlock: what Debian's own user-mode-linux leaves out) from Debian's
# linux-source and kernel.config. About 13 CPU minutes and 3 GB of disk, once. The result is one
# static file, FOLDER/linux; FOLDER is CACHE/built by default, where run.py finds it.
# SUITE and VERSION choose the source package (7.3.4 of trixie-backports and 7.2.13 of sid work).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
folder=$(realpath -m "${1:-${ORLOP_GUEST_CACHE:-$HOME/.cache/orlop-guest}/built}")
suite=${SUITE:-trixie-backports}
[ ! -x "$folder/linux" ] || { echo "$folder/linux is there already"; exit; }
[ "$(uname -m)" = x86_64 ] || { echo "User-Mode Linux runs on x86_64 only" >&2; exit 1; }

mkdir -p "$(dirname "$folder")"
tmp=$(mktemp -d "$folder.XXXX")
trap 'rm -rf "$tmp"' EXIT

# An apt that shares nothing with the machine's own but the mirror it uses.
mkdir -p "$tmp"/apt/{lists/partial,cache/archives/partial,none} "$tmp"/{source,objects,done}
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get --print-uris update | sed -n "s|^'\(.*\)/dists/$codename/InRelease'.*|\1|p" | head -1)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $suite main" >"$tmp/apt/list"
cat >"$tmp/apt/conf" <<CONF
Dir::State "$tmp/apt"; Dir::State::status "/dev/null"; Dir::Cache "$tmp/apt/cache";
Dir::Etc {
  sourcelist "$tmp/apt/list"; sourceparts "$tmp/apt/none";
  preferences "/dev/null"; preferencesparts "$tmp/apt/none";
};
APT::Architectures { "amd64"; }; APT::Sandbox::User "";
Acquire {
  Languages "none"; Retries "3";
  Check-Valid-Until "false"; Check-Date "false"; AllowInsecureRepositories "false";
};
CONF
export APT_CONFIG=$tmp/apt/conf
apt-get -qq update
version=${VERSION:-$(apt-cache search --names-only '^linux-source-[0-9.]+$' |
  sed 's/^linux-source-\([0-9.]*\) .*/\1/' | sort -V | tail -1)}
echo "building linux-source-$version of $suite" >&2
(cd "$tmp" && apt-get -qq download "linux-source-$version/$suite")

# Only what User-Mode Linux compiles: the drivers and documents are most of the tree.
dpkg-deb --fsys-tarfile "$tmp"/linux-source-*.deb |
  tar -xOf - "./usr/src/linux-source-$version.tar.xz" | xz -dc -T0 |
  tar -xf - -C "$tmp/source" --strip-components=1 \
    --exclude='*/Documentation/*/*' --exclude='*/tools/testing/*' \
    --exclude='*/drivers/gpu/drm/*/*.[ch]' --exclude='*/sound/*/*.[ch]'

# A process whose stub cannot map a page (this machine's vm.max_map_count) would spin for ever;
# let the kernel kill it instead.
process=$tmp/source/arch/um/os-Linux/skas/process.c
sed -i 's/if (sig == SIGTRAP && proc_data->err != 0)/if (proc_data->err != 0)/' "$process"
grep -q 'if (proc_data->err != 0)' "$process" ||
  echo "the fix for spinning processes does not fit linux $version" >&2

build() { make -s -C "$tmp/source" ARCH=um O="$tmp/objects" "$@"; }
build KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig
grep -E '^CONFIG_[A-Z0-9_]+=[^n]' "$here/kernel.config" | grep -vxFf "$tmp/objects/.config" |
  sed 's/^/not in this version: /' >&2 || :
build -j"$(nproc)" linux
strip -o "$tmp/done/linux" "$tmp/objects/linux"
cp "$tmp/objects/.config" "$tmp/done/config"
rm -rf "$folder"
mv -T "$tmp/done" "$folder"
echo "$folder/linux"
