# shellcheck shell=sh
# Sourced by the scripts that do several things in a row: each is a named step with its time, and
# the first that fails ends the script with its name.

# With colours on a terminal only.
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') red=$(printf '\033[31m') green=$(printf '\033[32m') plain=$(printf '\033[0m')
else
    bold='' red='' green='' plain=''
fi

# step NAME COMMAND [ARGUMENT...]
step() {
    step_name=$1
    shift
    printf '%s== %s%s\n' "$bold" "$step_name" "$plain"
    step_start=$(date +%s)
    step_status=0
    "$@" || step_status=$?
    step_time=$(($(date +%s) - step_start))
    if [ "$step_status" -ne 0 ]; then
        printf '%s== %s failed after %s s (exit code %s): %s%s\n' \
            "$red" "$step_name" "$step_time" "$step_status" "$*" "$plain" >&2
        exit "$step_status"
    fi
    printf '%s== %s: done in %s s%s\n\n' "$green" "$step_name" "$step_time" "$plain"
}
