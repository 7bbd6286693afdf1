#!/bin/sh
# The image of k8s/Dockerfile on a machine without a container engine and without a registry to pull a base from: a bare
# Debian by debootstrap, then buildah. For the test of the image, as root; elsewhere `buildah build` is enough.
#     apt-get install debootstrap buildah podman runc && sh k8s/local-image.sh [TAG]
# UV_FIND_LINKS, where it is set, is a folder of wheels; the certificates of this machine are shown to the build alone.
set -eu
cd "$(dirname "$0")/.."
tag=${1:-reason2decide:test}
buildah="buildah --storage-driver overlay"
if ! $buildah inspect --type image localhost/debian-python3.11 > /dev/null 2>&1; then
  base=$(mktemp -d)
  debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-pip,ca-certificates bookworm "$base"
  umount "$base/proc" 2> /dev/null || true
  rm -rf "$base"/var/cache/apt/* "$base"/var/lib/apt/lists/* "$base"/usr/share/doc/* "$base"/usr/share/man/* "$base"/usr/share/locale/*
  container=$($buildah from scratch)
  $buildah add -q "$container" "$base" /
  $buildah commit -q "$container" localhost/debian-python3.11
  $buildah rm "$container" > /dev/null
  rm -rf "$base"
fi
wheels=${UV_FIND_LINKS:-}
$buildah build --pull-never --isolation chroot --network host --layers \
  --volume /etc/ssl/certs:/etc/ssl/certs:ro ${wheels:+--volume "$wheels:$wheels:ro"} \
  --build-arg BASE=localhost/debian-python3.11 --build-arg UV_FIND_LINKS="$wheels" \
  --build-arg COMMIT="$(git rev-parse HEAD)" --file k8s/Dockerfile --tag "$tag" .
