#!/bin/sh
# Makes a test CA and a server's certificates in a directory: ca.crt, ca.key, server.crt, server.key; and, for the same
# key, certificates that no one may trust: expired.crt, self_signed.crt, other_host.crt. All but the last are for
# localhost and 127.0.0.1. Usage: make_certs.sh DIR
set -eu
dir=${1:?usage: make_certs.sh DIR}
mkdir -p "$dir"
umask 077
openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days 30 -subj "/CN=Roster Test CA" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
	-keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
openssl req -newkey rsa:2048 -sha256 -nodes -subj "/CN=localhost" \
	-keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null

# extensions ALTERNATIVE_NAMES: of the next certificate
extensions() {
	cat >"$dir/server.ext" <<-EXT
	basicConstraints=CA:FALSE
	keyUsage=critical,digitalSignature,keyEncipherment
	extendedKeyUsage=serverAuth
	subjectAltName=$1
	authorityKeyIdentifier=keyid
	subjectKeyIdentifier=hash
	EXT
}

# certificate NAME DAYS ALTERNATIVE_NAMES [signer's arguments]
certificate() {
	name=$1 days=$2
	extensions "$3"
	shift 3
	openssl x509 -req -sha256 -days "$days" -in "$dir/server.csr" -extfile "$dir/server.ext" -out "$dir/$name.crt" \
		"$@" 2>/dev/null
}

certificate server 30 DNS:localhost,IP:127.0.0.1 -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial
certificate other_host 30 DNS:campus.other.example -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAserial "$dir/ca.srl"
certificate self_signed 30 DNS:localhost,IP:127.0.0.1 -signkey "$dir/server.key"

# x509 makes no certificate that has ended (OpenSSL 3.5 refuses -days -1), and takes no dates before 3.4; ca takes
# dates.
extensions DNS:localhost,IP:127.0.0.1
: >"$dir/index.txt"
cat >"$dir/ca.cnf" <<-CNF
[ca]
default_ca=expired
[expired]
database=$dir/index.txt
new_certs_dir=$dir
rand_serial=yes
default_md=sha256
policy=any
[any]
commonName=supplied
CNF
openssl ca -batch -notext -config "$dir/ca.cnf" -cert "$dir/ca.crt" -keyfile "$dir/ca.key" \
	-startdate 20240101000000Z -enddate 20240201000000Z -in "$dir/server.csr" -extfile "$dir/server.ext" \
	-out "$dir/expired.crt" 2>/dev/null
rm -f "$dir/server.csr" "$dir/server.ext" "$dir/ca.srl" "$dir/ca.cnf" "$dir"/index.txt* "$dir"/[0-9A-F]*.pem
chmod 644 "$dir"/*.crt
