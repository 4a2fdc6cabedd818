# shellcheck shell=bash
# What the service scripts share: where state lives, how daemons start, stop and are waited for.
# Sourced; the script sets SERVICE before it calls `open_state`.

# Not below root's home: the forge runs as an account of its own and must get there.
STATE_ROOT=$(realpath -m "${GITOPS_STATE:-/var/lib/gitops-steps}")
CACHE=$(realpath -m "${GITOPS_CACHE:-/var/cache/gitops-steps}")
# Where Debian's packages ask whether they may start a service; 101 is no.
POLICY=/usr/sbin/policy-rc.d

say() {
    printf '%s: %s\n' "${SERVICE:-services}" "$*" >&2
}

# die MESSAGE [HINT]
die() {
    say "error: $1"
    [[ -z ${2:-} ]] || printf 'hint: %s\n' "$2" >&2
    exit 2
}

# open_state NAME: makes the service's state folder and names it $STATE; $INSTANCE is its name on this machine, which
# another state folder's service of that name does not share, and $RUN a folder for its sockets.
open_state() {
    SERVICE=$1
    STATE=$STATE_ROOT/$1
    INSTANCE=$1
    [[ $STATE_ROOT == /var/lib/gitops-steps ]] || INSTANCE+=-$(cksum <<<"$STATE_ROOT" | cut -d' ' -f1)
    # Short, because a unix socket's path has at most 107 characters.
    # shellcheck disable=SC2034 # the scripts that source this read it
    RUN=/run/gitops-steps/$INSTANCE
    mkdir -p "$STATE"
}

# one_at_a_time: from here to the end of the script no other run works on this service.
one_at_a_time() {
    exec {LOCK}>"$STATE/lock"
    flock -w 1200 "$LOCK" || die "another run has held $STATE/lock for 20 minutes"
}

# need_packages PROGRAM:PACKAGE…: installs the Debian packages of programs that are not there.
need_packages() {
    local missing=() entry
    for entry in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]} from Debian's packages: not found here, and needed"
    command -v apt-get >/dev/null || die "apt-get is not here to install ${missing[*]}" "install them by hand"
    mkdir -p "$CACHE"
    (
        flock 9
        # A package's own service must not start: services here have their own folders and ports.
        if [[ ! -e $POLICY ]]; then
            trap 'rm -f "$POLICY"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$POLICY"
            chmod +x "$POLICY"
        fi
        export DEBIAN_FRONTEND=noninteractive
        install=(apt-get install -y -qq --no-install-recommends "${missing[@]}")
        # The first attempt fails where package lists are old or not there.
        "${install[@]}" 2>/dev/null || { apt-get update -qq && "${install[@]}"; }
    ) 9>"$CACHE/apt.lock" >&2 || die "apt-get could not install ${missing[*]}"
}

# free_port NAME: a free loopback port, the same one again after a restart. Below the range that outgoing connections
# take theirs from, so that none has it when the service comes back.
free_port() {
    local file=$STATE/$1.port
    [[ -s $file ]] || python3 -c '
import random, socket
while True:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", random.randrange(20000, 32000)))
        except OSError:
            continue
        print(probe.getsockname()[1])
        break' >"$file"
    cat "$file"
}

# free_network FIRST INTERFACE: N of a network 10.N.0.0/16 that nothing here but INTERFACE uses, the same one again after
# a restart; the search begins at FIRST.
free_network() {
    local file=$STATE/network first=$1 used number i
    if [[ ! -s $file ]]; then
        used=$({ ip -4 -o address show && ip -4 route show table all; } | grep -vw "$2" || true)
        for i in {0..99}; do
            number=$((100 + (first - 100 + i) % 150))
            grep -qF " 10.$number." <<<" ${used//$'\n'/$'\n' }" || break
        done
        echo "$number" >"$file"
    fi
    cat "$file"
}

# started_at PID: when the process began, in clock ticks since boot; tells a process from a later one of the same number.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    [[ ${stat:0:1} != Z ]] || return 1
    cut -d' ' -f20 <<<"$stat"
}

# is_running NAME
is_running() {
    local pid start
    read -r pid start 2>/dev/null <"$STATE/$1.pid" || return 1
    [[ -n $start && $(started_at "$pid") == "$start" ]]
}

# start_daemon NAME COMMAND…: runs it in a session of its own, with its output in NAME.log.
start_daemon() {
    local name=$1 pid
    shift
    (
        [[ -z ${LOCK:-} ]] || exec {LOCK}>&-
        exec setsid "$@" >"$STATE/$name.log" 2>&1 </dev/null
    ) &
    pid=$!
    disown "$pid"
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$STATE/$name.pid"
}

# stop_daemon NAME [SECONDS]: TERM to it, which ends its children by itself; KILL to its process group after a while.
stop_daemon() {
    local name=$1 seconds=${2:-10} pid
    if is_running "$name"; then
        read -r pid _ <"$STATE/$name.pid"
        kill -TERM "$pid" 2>/dev/null || true
        wait_while "$seconds" is_running "$name" || kill -KILL -- "-$pid" 2>/dev/null || true
        wait_while 5 is_running "$name" || die "$name (process $pid) does not end"
    fi
    rm -f "$STATE/$name.pid"
}

# wait_while SECONDS COMMAND…: until the command fails; fails itself when the time is over.
wait_while() {
    local end=$((SECONDS + $1))
    shift
    while "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# wait_until SECONDS DAEMON COMMAND…: until the command succeeds; with the log's end if it never does.
wait_until() {
    local seconds=$1 daemon=$2 end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! is_running "$daemon" || ((SECONDS > end)); then
            tail -n 20 "$STATE/$daemon.log" >&2 || true
            is_running "$daemon" && die "$daemon is not ready after $seconds s" "its log: $STATE/$daemon.log"
            die "$daemon has ended" "its log: $STATE/$daemon.log"
        fi
        sleep 0.1
    done
}

# unmount_below FOLDER…: what daemons that were killed left mounted there.
unmount_below() {
    local folder mount
    for folder in "$@"; do
        while read -r mount; do
            umount -l "$mount" 2>/dev/null || true
        done < <(awk -v below="$folder/" 'index($5, below) == 1 {print $5}' /proc/self/mountinfo | sort -r)
    done
}

# control_group NAME: its folder in each hierarchy of cgroup v1, or in the one of v2, there or not.
control_group() {
    awk -v name="$1" '$3 == "cgroup" || $3 == "cgroup2" {print $2 "/" name}' /proc/self/mounts | sort -u
}

# make_control_group NAME: with all of the machine's processors, memory nodes and controllers.
make_control_group() {
    local folder parent file controller
    while read -r folder; do
        parent=${folder%/*}
        mkdir -p "$folder"
        for file in cpuset.cpus cpuset.mems; do
            [[ ! -e $parent/$file || ! -e $folder/$file || -n $(<"$folder/$file") ]] || cat "$parent/$file" >"$folder/$file"
        done
        for file in "$parent" "$folder"; do
            [[ -e $file/cgroup.controllers ]] || continue
            for controller in $(<"$file/cgroup.controllers"); do
                echo "+$controller" >"$file/cgroup.subtree_control" 2>/dev/null || true
            done
        done
    done < <(control_group "$1")
}

# end_control_group NAME: kills the processes in it and takes it away.
end_control_group() {
    local folder attempt pids
    while read -r folder; do
        [[ -d $folder ]] || continue
        for attempt in {1..50}; do
            mapfile -t pids < <(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null)
            ((${#pids[@]})) || break
            ((attempt < 50)) || say "processes in $folder do not end: ${pids[*]}"
            kill -KILL "${pids[@]}" 2>/dev/null || true
            sleep 0.1
        done
        find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done < <(control_group "$1")
}

# forget_rules PATTERN: takes away the packet filters' rules that the pattern matches, and the chains whose names it
# matches; all others stay as they are, whoever changes them meanwhile.
forget_rules() {
    local tool
    for tool in iptables ip6tables; do
        command -v "$tool" >/dev/null || continue
        "$tool-save" 2>/dev/null | awk -v pattern="$1" '
            /^\*/ {table = $1; rules = flushes = deletions = ""}
            /^-A/ && $0 ~ pattern {rule = $0; sub(/^-A/, "-D", rule); rules = rules rule "\n"}
            /^:/ && $1 ~ pattern {flushes = flushes "-F " substr($1, 2) "\n"; deletions = deletions "-X " substr($1, 2) "\n"}
            /^COMMIT/ && rules flushes {printf "%s\n%s%s%sCOMMIT\n", table, rules, flushes, deletions}
        ' | "$tool-restore" --wait --noflush || say "some rules of $tool that match $1 are still there"
    done
}

# cached NAME VERSION FUNCTION: the folder $CACHE/NAME-VERSION, made by `FUNCTION TEMPORARY_FOLDER` if it is not there.
cached() {
    local folder=$CACHE/$1-$2 function=$3 status
    mkdir -p "$CACHE"
    if [[ ! -d $folder ]]; then
        # In `( … ) || die` a failing step would not end the build, and half of it would be kept.
        set +e
        (
            set -e
            flock 9
            [[ ! -d $folder ]] || exit 0
            rm -rf "$folder.new"
            mkdir -p "$folder.new"
            say "building $1 $2 once, into the cache"
            "$function" "$folder.new" 9>&- >&2
            mv -T "$folder.new" "$folder"
        ) 9>"$CACHE/$1.lock"
        status=$?
        set -e
        ((status == 0)) || die "$1 $2 could not be built"
    fi
    printf '%s\n' "$folder"
}

need_go() {
    command -v go >/dev/null || die "Go is not on PATH" "install Go 1.26 or later"
}

# go_program NAME PACKAGE VERSION: the path of the program of a Go package, built once into the cache.
go_program() {
    local folder
    GO_PACKAGE=$2@v$3
    folder=$(cached "$1" "$3" install_go_program)
    # A package whose path ends in a version has a program of another name.
    echo "$folder"/*
}

install_go_program() {
    need_go
    GOBIN=$1 CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "$GO_PACKAGE"
}

# loopback_certificates NAME: a CA of the service's own (ca.crt) and a certificate for loopback signed by it (server.crt,
# server.key), made once.
loopback_certificates() {
    [[ ! -s $STATE/server.crt ]] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=gitops-steps $1 CA" -keyout "$STATE/ca.key" -out "$STATE/ca.crt" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=127.0.0.1" \
        -keyout "$STATE/server.key" -out "$STATE/server.csr" 2>/dev/null
    openssl x509 -req -in "$STATE/server.csr" -CA "$STATE/ca.crt" -CAkey "$STATE/ca.key" -CAcreateserial -days 3650 \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n') \
        -out "$STATE/server.crt" 2>/dev/null
}

# print_env KEY VALUE …: lines for `eval`.
print_env() {
    while (($#)); do
        printf "%s='%s'\n" "$1" "${2//\'/\'\\\'\'}"
        shift 2
    done
}

# main up|down|status|env: calls the script's function of that name. up and down are one at a time.
main() {
    case ${1:-} in
    up | down)
        one_at_a_time
        "$@"
        ;;
    status | env) "$@" ;;
    *)
        if [[ -n ${1:-} ]] && declare -F "verb_${1//-/_}" >/dev/null; then
            "verb_${1//-/_}" "${@:2}"
        else
            die "usage: ${0##*/} up|down|status|env" "the script's first lines say what it does"
        fi
        ;;
    esac
}
