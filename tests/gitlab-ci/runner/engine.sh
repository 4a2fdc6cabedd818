#!/bin/bash
# Docker in Docker as the official image starts it: certificates below $DOCKER_TLS_CERTDIR, the engine on port 2376.
# Images in /images are loaded first: what a job's build starts from is there, as if pulled.
set -euo pipefail

certificates() {
    mkdir -p ca server client
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=engine CA" -keyout ca/key.pem -out ca/cert.pem
    local side usage
    for side in server client; do
        usage="extendedKeyUsage=${side}Auth"
        [[ $side == client ]] || usage+=$'\n'"subjectAltName=DNS:docker,DNS:localhost,IP:127.0.0.1"
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$side" -keyout $side/key.pem -out $side/request.pem
        openssl x509 -req -in $side/request.pem -CA ca/cert.pem -CAkey ca/key.pem -CAcreateserial -days 2 \
            -extfile <(echo "$usage") -out $side/cert.pem
        cp ca/cert.pem $side/ca.pem
    done
}

: "${DOCKER_TLS_CERTDIR:?this engine speaks TLS only}"
cd "$(mktemp -d)"
certificates 2>/dev/null

# Where --privileged could not be had, these are mounted for reading only.
mount -o remount,rw /proc/sys 2>/dev/null || true
mount -o remount,rw /sys 2>/dev/null || true
# Below this container's own control group, which goes away with it.
group=$(sed -n 's/^[0-9]*:\(memory\)\?:\(.*\)/\2/p' /proc/self/cgroup | head -n 1)
# The outer engine's name server is on this container's loopback, where the containers inside don't reach it.
dns=$(sed -n 's/^nameserver //p' /images/resolv.conf | head -n 1)

dockerd --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2376 --tlsverify --tlscacert "$PWD/ca/cert.pem" \
    --tlscert "$PWD/server/cert.pem" --tlskey "$PWD/server/key.pem" --cgroup-parent "${group%/}/inner" ${dns:+--dns "$dns"} \
    --log-level warn &
DOCKER=(env -u DOCKER_HOST -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH docker)
until "${DOCKER[@]}" version >/dev/null; do
    kill -0 $! || exit 1
    sleep 0.2
done
for archive in /images/*.tar; do
    "${DOCKER[@]}" load --quiet --input "$archive"
done
# Who finds the client's certificate finds an engine that answers, with its images.
mkdir -p "$DOCKER_TLS_CERTDIR/client"
cp -f client/* "$DOCKER_TLS_CERTDIR/client/"
wait $!
