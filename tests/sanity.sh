#!/usr/bin/env bash
# Runs ansible-test sanity on a copy of the tree, without a container and without ansible-test's own download server.
#   tests/sanity.sh VENV      (a virtual environment with ansible-core)
set -euo pipefail
venv=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ansible-test wants to be below ansible_collections, and takes no link for that.
copy=$work/ansible_collections/gating/containers
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "$copy"

# A HOME of its own, for its virtual environments and because of the next thing.
export HOME=$PWD/.venv/ansible-test
# It bootstraps pip by a script that it downloads, unless the script is in its cache: this one asks the standard library.
cache=${HOME}/.ansible/test/cache
mkdir -p "$cache"
for version in 24_2 25_2; do
  [ -e "$cache/get_pip_$version.py" ] || cat > "$cache/get_pip_$version.py" <<'PY'
"""pip from the standard library's ensurepip, in place of a download."""
import subprocess
import sys

if __name__ == "__main__":
    # ensurepip turns pip's configuration off for its own process, hence a process of its own
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
    packages = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
    if packages:
        sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *packages]))
PY
done

cd "$copy"
# Version managers put shims of interpreters that are not there on the path, over which ansible-test stumbles.
export PATH=$venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec_python=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ansible-test sanity --local --python "$exec_python" --color no
