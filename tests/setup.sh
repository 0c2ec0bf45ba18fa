#!/bin/bash
# tests/setup.sh check|test|fuzz|bench|demo|pictures|guest-kernel: set up what that make target needs.
#   - .venv from $PYTHON (3.11 or newer), with this project and its dev tools, by pip's own index;
#     done again only when pyproject.toml has changed
#   - Debian packages, only those whose files are missing, each announced with its reason
# Says nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
target=${1:?usage: tests/setup.sh check|test|fuzz|bench|demo|pictures|guest-kernel}
python=${PYTHON:-python3}

say() { echo "setup: $*" >&2; }
fail() { say "$@"; exit 1; }
have() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2; }

updated=
apt_update() { [ -n "$updated" ] || { apt update; updated=1; }; }

install_package() { # install_package PACKAGE REASON
  [ "$(id -u)" = 0 ] || fail "$1 is missing ($2); as root: apt-get install $1"
  have apt-get || fail "$1 is missing ($2), and there is no apt-get to install it with"
  say "installing Debian's $1: $2"
  apt_update
  apt install --no-install-recommends "$1"
}

need() { # need COMMAND PACKAGE REASON
  have "$1" || install_package "$2" "$3"
}

# Only the client: Debian 12's docker.io would start a daemon of its own, which no test wants.
docker_client() {
  { have docker || [ -x .venv/bin/docker ]; } && return
  have apt-get || fail "no docker command, and no apt-get to fetch it with"
  local tmp; tmp=$(mktemp -d)
  apt_update
  if apt-cache show docker-cli >/dev/null 2>&1; then package=docker-cli; else package=docker.io; fi
  say "unpacking the docker command of Debian's $package into .venv/bin: the API tests drive it"
  (cd "$tmp" && apt -o APT::Sandbox::User=root download "$package")
  dpkg-deb -x "$tmp"/*.deb "$tmp/root"
  install_file "$tmp/root/usr/bin/docker" .venv/bin/docker
  rm -rf "$tmp"
}

# Its programs only, without starting what the package would start and without its
# recommendations: skopeo's want iptables.
unpack_commands() { # unpack_commands PACKAGE REASON COMMAND...
  local package=$1 reason=$2 command tmp missing=(); shift 2
  for command; do
    have "$command" || [ -x ".venv/bin/$command" ] || missing+=("$command")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "${missing[*]} missing ($reason), and no apt-get to fetch it with"
  tmp=$(mktemp -d)
  apt_update
  say "unpacking ${missing[*]} of Debian's $package into .venv/bin: $reason"
  (cd "$tmp" && apt -o APT::Sandbox::User=root download "$package")
  dpkg-deb -x "$tmp"/*.deb "$tmp/root"
  for command in "${missing[@]}"; do
    install_file "$tmp"/root/usr/*bin/"$command" ".venv/bin/$command"
  done
  rm -rf "$tmp"
}

unpack_command() { unpack_commands "$2" "$3" "$1"; } # unpack_command COMMAND PACKAGE REASON

# Debian 12's docker-compose is the one in Python; the plugin is in the releases after it, whose
# package lists are kept apart from the host's.
compose_plugin() {
  [ -x .venv/bin/docker-compose-plugin ] && return
  local tmp site suite=trixie; tmp=$(mktemp -d)
  site=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/*$') ||
    fail "no Debian archive among apt's sources to fetch docker's compose plugin from"
  say "unpacking docker's compose plugin of Debian $suite into .venv/bin: the API tests drive it"
  mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" >"$tmp/sources"
  (cd "$tmp" && for word in update "download docker-compose"; do
    apt -o Dir::Etc::SourceList="$tmp/sources" -o Dir::Etc::SourceParts=- \
      -o Dir::State::Lists="$tmp/lists" -o Dir::Cache="$tmp/cache" \
      -o Acquire::Languages=none -o APT::Sandbox::User=root $word
  done)
  dpkg-deb -x "$tmp"/*.deb "$tmp/root"
  install_file "$tmp/root/usr/libexec/docker/cli-plugins/docker-compose" .venv/bin/docker-compose-plugin
  rm -rf "$tmp"
}

need_library() { # need_library SONAME PACKAGE REASON
  [[ $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p) == *"$1"* ]] || install_package "$2" "$3"
}

registry_tools() {
  unpack_command docker-registry docker-registry "images are pulled from it and pushed to it"
  need_library libgpgme.so.11 libgpgme11 "skopeo is linked with it"
  need_library libdevmapper.so.1.02.1 libdevmapper1.02.1 "skopeo is linked with it"
  unpack_command skopeo skopeo "it puts images into the tests' registry"
}

install_file() { cp "$1" "$2.new" && chmod 755 "$2.new" && mv "$2.new" "$2"; }

virtual_environment() {
  local stamp=.venv/orlop-stamp want
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is missing or older than 3.11; set PYTHON=/path/to/python3.11"
  want=$(sha256sum <pyproject.toml)
  [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
  if [ ! -x .venv/bin/python ] || [ ! -x .venv/bin/pip ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
      install_package python3-venv "$python cannot make virtual environments"
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
  fi
  say "installing this project and its tools into .venv"
  .venv/bin/python -m pip install -qq --disable-pip-version-check --editable '.[dev]' >&2
  echo "$want" >"$stamp"
}

static_busybox() { # a static one: a dynamic busybox would need its libraries in the image
  if ! have busybox || ldd "$(PATH=$PATH:/usr/sbin:/sbin command -v busybox)" >/dev/null 2>&1; then
    install_package busybox-static "images are built from it"
  fi
}

exec 9<pyproject.toml
flock 9 # two makes at once share one .venv
virtual_environment
case $target in
  check) ;;
  fuzz)
    if ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
      say "installing atheris into .venv: it guides the inputs by coverage"
      .venv/bin/python -m pip install -qq --disable-pip-version-check --editable '.[fuzz]' >&2 ||
        say "there is no atheris for this interpreter: inputs are mutated blindly"
    fi
    ;;
  demo)
    static_busybox
    need nsenter util-linux "the demonstration's host is a network namespace"
    ;;
  test)
    static_busybox
    need nft nftables "the host probe tries it"
    need dig bind9-dnsutils "it asks the name server of networks"
    need docker-compose docker-compose "it drives the API's networks as people do"
    need nsenter util-linux "daemons are started in network namespaces with it"
    need mkfs.ext4 e2fsprogs "the guest's disk is ext4"
    need strace strace "system calls fail by its hand"
    docker_client
    compose_plugin
    registry_tools
    unpack_command umoci umoci "it reads the image archives that are saved"
    for tool in prometheus promtool; do
      unpack_command $tool prometheus "it scrapes a daemon, and its rules are tested"
    done
    need openssl openssl "certificates for the tests' registry"
    have chromium || need chromium-headless-shell chromium-headless-shell "it looks at the page for people"
    need_library libseccomp.so.2 libseccomp2 "our filters are compared with its"
    [ "$(uname -m)" != x86_64 ] || .venv/bin/python tests/guest/kernel.py >/dev/null
    ;;
  bench)
    static_busybox
    need runc runc "the bench compares with it"
    need iperf3 iperf3 "it sends between containers"
    need debootstrap debootstrap "the bench unpacks the tree that it makes"
    registry_tools
    unpack_command umoci umoci "the bench compares with it"
    need iptables iptables "dockerd, which the bench compares with, calls it"
    need nsenter util-linux "dockerd is started in namespaces of its own with it"
    unpack_command dockerd docker.io "the bench compares with it"
    unpack_commands containerd "dockerd starts it" containerd containerd-shim-runc-v2
    ;;
  pictures)
    static_busybox
    need nft nftables "the host probe tries it"
    need nsenter util-linux "the daemon is started in a network namespace with it"
    docker_client
    registry_tools
    for tool in prometheus promtool; do
      unpack_command $tool prometheus "it scrapes the daemon"
    done
    need npm npm "it fetches Grafana's components"
    need chromium chromium "it draws them"
    need pngquant pngquant "it makes the pictures small"
    ;;
  guest-kernel)
    for tool in gcc make; do need $tool build-essential "it compiles the kernel"; done
    for tool in flex bison m4 bc; do need $tool $tool "the kernel's build calls it"; done
    need xz xz-utils "the kernel's source is packed with it"
    ;;
  *) fail "no such target: $target" ;;
esac
