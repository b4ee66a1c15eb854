#!/bin/sh
# copy.sh SECRET WORK: copies the Secret that is mounted at SECRET, as it is at one time, to WORK/before; and its keys
# to WORK/keys, where they may be changed.
set -eu
umask 077
mkdir "$2/before" "$2/keys"
# `..data` is a link that the kubelet turns to the next version. Inside its target there is only this one; were that
# deleted meanwhile, this would fail and the Job begin again.
cd -P "$1/..data"
cp ./* "$2/before/"
for key in ./*.pem; do
  [ ! -e "$key" ] || cp "$key" "$2/keys/"
done
