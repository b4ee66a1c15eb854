#!/bin/sh
# patch.sh WORK: writes WORK/patch.json (RFC 6902), which makes of the Secret in WORK/before what the keys in WORK/keys
# are now. It begins with a test: if anybody has changed the Secret meanwhile, nothing of it is applied.
set -eu
umask 077
cd "$1"
contents() { base64 -w 0 <"$1"; }
{
  printf '[{"op":"test","path":"/data","value":{'
  separator=
  for file in before/*; do
    printf '%s"%s":"%s"' "$separator" "${file##*/}" "$(contents "$file")"
    separator=,
  done
  printf '}}'
  for key in keys/*.pem; do
    [ -e "before/${key##*/}" ] ||
      printf ',\n{"op":"add","path":"/data/%s","value":"%s"}' "${key##*/}" "$(contents "$key")"
  done
  for key in before/*.pem; do
    [ ! -e "$key" ] || [ -e "keys/${key##*/}" ] || printf ',\n{"op":"remove","path":"/data/%s"}' "${key##*/}"
  done
  printf ']\n'
} >patch.json
