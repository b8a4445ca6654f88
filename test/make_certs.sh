#!/bin/sh
# Makes a test CA and a server's certificates in a directory: ca.crt, ca.key, server.crt, server.key; and, for the same key, certificates
# that nobody may trust: expired.crt, self_signed.crt, other_host.crt. All but the last are for localhost and 127.0.0.1.
# Usage: make_certs.sh DIR
set -eu
dir=${1:?usage: make_certs.sh DIR}
mkdir -p "$dir"
umask 077
openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days 30 -subj "/CN=Roster Test CA" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
	-keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
openssl req -newkey rsa:2048 -sha256 -nodes -subj "/CN=localhost" \
	-keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null

# certificate NAME DAYS ALTERNATIVE_NAMES [signer's arguments]
certificate() {
	name=$1 days=$2 names=$3
	shift 3
	cat >"$dir/server.ext" <<-EXT
	basicConstraints=CA:FALSE
	keyUsage=critical,digitalSignature,keyEncipherment
	extendedKeyUsage=serverAuth
	subjectAltName=$names
	authorityKeyIdentifier=keyid
	subjectKeyIdentifier=hash
	EXT
	openssl x509 -req -sha256 -days "$days" -in "$dir/server.csr" -extfile "$dir/server.ext" -out "$dir/$name.crt" "$@" 2>/dev/null
}

certificate server 30 DNS:localhost,IP:127.0.0.1 -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial
certificate expired -1 DNS:localhost,IP:127.0.0.1 -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAserial "$dir/ca.srl"
certificate other_host 30 DNS:campus.other.example -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAserial "$dir/ca.srl"
certificate self_signed 30 DNS:localhost,IP:127.0.0.1 -signkey "$dir/server.key"
rm -f "$dir/server.csr" "$dir/server.ext" "$dir/ca.srl"
chmod 644 "$dir"/*.crt
