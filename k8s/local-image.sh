#!/bin/sh
# Builds the image of k8s/Dockerfile, as root, where no base image can be pulled: the base is a bare Debian, made by
# debootstrap. With a registry, the `buildah build` of k8s/Dockerfile is enough. test_image_runs.py uses the image.
#     apt-get install debootstrap buildah podman runc && sh k8s/local-image.sh [TAG]
# UV_FIND_LINKS may name a folder of wheels. The build sees the certificates of this machine, and the image does not.
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
