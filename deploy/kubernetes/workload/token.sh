#!/bin/sh
# token.sh ISSUER IDENTITY FILE: keeps an access token in FILE, got by the token that the kubelet keeps in IDENTITY. The
# next one comes after half of the lifetime; a failure is tried again after 5 seconds. No secret is an argument.
set -eu
issuer=$1 identity=$2 file=$3
umask 077
while true; do
  if answer=$(curl --silent --show-error --fail --max-time 10 "$issuer/oauth2/token" -d grant_type=client_credentials \
    -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
    --data-urlencode "client_assertion@$identity"); then
    printf %s "$answer" | sed 's/.*"access_token":"\([^"]*\)".*/\1/' >"$file.new"
    mv "$file.new" "$file"
    seconds=$(printf %s "$answer" | sed 's/.*"expires_in":\([0-9]*\).*/\1/')
    sleep $((seconds / 2))
  else
    sleep 5
  fi
done
