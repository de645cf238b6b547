# supervise.sh BINARIES DIRECTORY (initdb | pg_basebackup) [OPTION]...
#
# Makes one temporary PostgreSQL server in DIRECTORY, with that program and its options, for the process that holds the other end of the
# standard input. That pipe closes when the process ends, however it ends; then the server and the
# directory go as well. Asked on the standard input, answered on the standard output:
#
#   start PORT    "ready PID" or "failed"
#   kill SIGNAL   "killed": the postmaster died of it
#   keep          nothing: the server now lives until it is shut down, and cleans up then
#
# Signals meant for the process's terminal or service must not end this script before its work is done,
# nor must a write to a process that is gone.
trap '' HUP INT TERM PIPE
binaries=$1
directory=$2
program=$3
shift 3
exec 2>>"$directory/log"
# Each session is a new process. These let glibc get its memory from the kernel in a few big pieces, and keep it: a tenth of
# what many short sessions cost.
export MALLOC_TOP_PAD_=4194304 MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=268435456

# Nothing here is worth a checkpoint: an immediate shutdown, which PostgreSQL itself bounds to 5 s.
clean_up() {
    [ -z "$server" ] || kill -QUIT "$server"
    wait
    cd /
    rm -rf "$directory"
    exit
}

# Asks in the private directory of the socket, not at the port, where another server may answer. Each attempt
# starts a program, so that 1000 take several seconds; a server needs about a tenth of one.
ready() {
    attempts=0
    until "$binaries/pg_isready" -q -h "$directory" -p "$1" -U postgres; do
        attempts=$((attempts + 1))
        [ "$attempts" -lt 1000 ] && kill -0 "$server" || return 1
    done
}

server=
"$binaries/$program" -D "$directory/data" "$@" >>"$directory/log" &&
    cat "$directory/settings" >>"$directory/data/postgresql.conf"

while read -r request argument; do
    case $request in
    start)
        "$binaries/postgres" -D "$directory/data" -k "$directory" -p "$argument" </dev/null >>"$directory/log" 2>&1 &
        server=$!
        if ready "$argument"; then
            echo "ready $server"
        else
            kill -QUIT "$server"
            wait "$server"
            server=
            echo failed
        fi
        ;;
    kill)
        kill "-$argument" "$server"
        wait "$server"
        server=
        echo killed
        ;;
    keep)
        wait "$server"
        server=
        clean_up
        ;;
    esac
done
clean_up
