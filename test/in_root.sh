#!/bin/bash
# test/in_root.sh ROOT COMMAND …: runs a command in the root directory of another Debian, as root. It has its processes,
# mounts and shared memory to itself, so that all that it starts or mounts ends with it, however it ends. /tmp is the
# machine's own: there the files of failed tests are found. ROOT_LAYER=DIRECTORY takes in what it changes in the root
# directory, which stays as it is.
set -euo pipefail

if [ "$1" != --inside ]; then
	exec unshare --fork --kill-child --pid --mount-proc --ipc "$0" --inside "$@"
fi

root=$2
shift 2
if [ -n "${ROOT_LAYER:-}" ]; then
	mkdir -p "$ROOT_LAYER/upper" "$ROOT_LAYER/work" "$ROOT_LAYER/root"
	mount -t overlay overlay -o "lowerdir=$root,upperdir=$ROOT_LAYER/upper,workdir=$ROOT_LAYER/work" "$ROOT_LAYER/root"
	root=$ROOT_LAYER/root
fi
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount --bind /tmp "$root/tmp"
# Not chroot: within one, no namespace for users can be made, and tests make some.
cd "$root"
pivot_root . mnt
cd /
umount -l /mnt
# The first process of its own: a signal that it did not trap would not reach it. It waits for its child, and takes in
# what servers leave behind.
trap 'exit 130' INT
trap 'exit 143' TERM
env -u PG_CONFIG -u TMPDIR -u ROOT_LAYER HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" &
wait $!
