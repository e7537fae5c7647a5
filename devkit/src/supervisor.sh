# Runs programs for one process and outlives it, so that nothing is left however that process ends (SIGKILL included):
# it reads commands from stdin, a pipe whose other end only that process holds, and the end of file says "clean up".
#
#   start NAME        run ./NAME.run; its process id goes to NAME.pid, its output to NAME.log, its end to NAME.exit
#   signal NAME SIG   send one signal
#   stop NAME         the signal in NAME.ending, and KILL if that does not end it within about 5 s
#
# Each command is done when the file `done` holds its number, counted from 1. At the end of file every program is
# stopped, the last one started first, and the working directory is removed. Plain POSIX sh. Programs are only ever
# addressed by the process ids kept here.
set -u
umask 077
PATH=$PATH:/usr/bin:/bin
order=

ended() { [ -e "$1.exit" ]; }

start() {
    rm -f "$1.pid" "$1.exit"
    # The subshell is the program's parent: it alone can wait for it, and until it has, the id cannot be reused.
    (
        sh "./$1.run" </dev/null >>"$1.log" 2>&1 &
        echo $! >"$1.pid.new" && mv "$1.pid.new" "$1.pid"
        wait $!
        echo $? >"$1.exit.new" && mv "$1.exit.new" "$1.exit"
    ) </dev/null &
    until [ -e "$1.pid" ]; do sleep 0.01; done
    case " $order " in *" $1 "*) ;; *) order="$1 $order" ;; esac
}

signal() { ended "$1" || kill -s "$2" "$(cat "$1.pid")" 2>/dev/null; }

stop() {
    signal "$1" "$(cat "$1.ending")"
    tries=0
    until ended "$1"; do
        tries=$((tries + 1))
        [ "$tries" -eq 250 ] && signal "$1" KILL
        [ "$tries" -eq 500 ] && return
        sleep 0.02
    done
}

finish() {
    trap '' TERM
    for name in $order; do stop "$name"; done
    wait
    cd /
    rm -rf "$dir"
    exit 0
}

main() {
    dir=$1
    cd "$dir" || exit 1
    # A terminal's Ctrl-C or hang-up is for the process that owns us; we learn of its end through the pipe.
    trap '' HUP INT QUIT
    trap finish TERM
    count=0
    while read -r command name argument; do
        case $command in
            start) start "$name" ;;
            signal) signal "$name" "$argument" ;;
            stop) stop "$name" ;;
        esac
        count=$((count + 1))
        echo "$count" >done.new && mv done.new done
    done
    finish
}

main "$@"
