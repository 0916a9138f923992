# What scripts that need Node share; to be sourced.

# node_is MAJOR [MINOR]: whether Node of that version or newer is on the PATH, with npm.
node_is() {
    command -v npm >/dev/null 2>&1 || return 1
    version=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ -n "$version" ] || return 1
    set -- "$1" "${2:-0}" ${version}
    [ "$3" -gt "$1" ] || { [ "$3" -eq "$1" ] && [ "$4" -ge "$2" ]; }
}

# node_wanted VERSION FOR: what is missing, and the way out.
node_wanted() {
    found=$(node --version 2>/dev/null || echo none)
    printf '%s takes Node %s or newer with npm, and there is %s on the PATH.\n' "$2" "$1" "$found"
    printf '  Debian, Ubuntu: apt-get install nodejs npm\n'
    printf '  Fedora:         dnf install nodejs npm\n'
    printf '  macOS:          brew install node\n'
}
