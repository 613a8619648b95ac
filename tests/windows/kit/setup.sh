#!/bin/bash
# setup.sh DEST: a real CPython for Windows with this project's dependencies, under Wine, from nothing.
#
# Needs Debian 12 and a Python 3.11, 3.12 or 3.13 (PYTHON, default python3): the pure-Python half of the standard library
# is taken from it, the Windows half (python3XX.dll, *.pyd) from the panda3d wheel for Windows, which ships them.  Root is
# needed only where Wine or the compiler is missing.  DEST/run.sh then runs the Windows python.
# About a minute and 0.9 GB in all.  Running it again on the same DEST does nothing.
set -euo pipefail
KIT=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
PIP_PYTHON=${PIP_PYTHON:-$PYTHON}   # one that has pip, which Debian's own has not: a virtual environment's
mkdir -p "${1:?usage: setup.sh DEST}"; DEST=$(cd "$1" && pwd)
[ -e "$DEST/ready" ] && exit 0
V=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); N=${V/./}
step() { echo "windows python: $*"; }

if ! command -v wine >/dev/null || ! command -v x86_64-w64-mingw32-gcc >/dev/null || ! command -v unzip >/dev/null; then
  step "apt: wine, mingw-w64, unzip"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    wine wine64 gcc-mingw-w64-x86-64-win32 unzip >/dev/null
fi

make_prefix() {
  export WINEPREFIX=$DEST/prefix WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d" WINEARCH=win64
  unset DISPLAY
  wine wineboot -i </dev/null 2>&1 | cat >/dev/null
  wine winecfg -v win10 </dev/null 2>&1 | cat >/dev/null
  # Windows that are not shown can be made without a display.
  wine reg add 'HKCU\Software\Wine\Drivers' /v Graphics /d null /f </dev/null 2>&1 | cat >/dev/null
  /usr/lib/wine/wineserver -w
  # It holds 0.7 GB of copies of Wine's own DLLs: links instead.
  for f in "$WINEPREFIX"/drive_c/windows/system32/*; do
    own=/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/$(basename "$f")
    if [ -f "$f" ] && [ ! -L "$f" ] && [ -f "$own" ] && cmp -s "$f" "$own"; then ln -sf "$own" "$f"; fi
  done
}
# It takes the longest, and needs nothing of what follows.
make_prefix & prefix=$!

step "python$N.dll and the standard library's .pyd files"
mkdir -p "$DEST"/{dl,py/DLLs,py/Lib/site-packages}
fetch=("$PIP_PYTHON" -m pip download -q --disable-pip-version-check --only-binary=:all:
       --platform win_amd64 --python-version "$V" --implementation cp)
"${fetch[@]}" --no-deps -d "$DEST/dl" panda3d==1.10.16
unzip -q -o "$DEST"/dl/panda3d-*-cp"$N"-*.whl 'deploy_libs/*' -d "$DEST/dl/x"
libs=$DEST/dl/x/deploy_libs
cp "$libs/python$N.dll" "$libs"/[vV][cC][rR][uU][nN]*.dll "$DEST/py/"
for f in "$libs"/*.pyd "$libs"/lib*.dll "$libs"/sqlite3.dll "$libs"/zlib1.dll; do
  case $f in   # _wmi: Wine 8's WMI crashes on the query of platform.uname(), which falls back without it
    *cp*t-win*|*_wmi.pyd|*_tkinter.pyd|*_msi.pyd|*_test*) ;;
    *) [ -e "$f" ] && cp "$f" "$DEST/py/DLLs/";;
  esac
done
tar -C "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
  --exclude=./test --exclude=tests --exclude=./site-packages --exclude='./config-*' --exclude=./lib-dynload \
  --exclude=__pycache__ --exclude=./idlelib --exclude=./lib2to3 --exclude=./tkinter --exclude=./turtledemo \
  --exclude=./sitecustomize.py --exclude='_sysconfigdata*' -cf - . | tar -C "$DEST/py/Lib" -xf -

step "python.exe and the WSASendMsg shim"
x86_64-w64-mingw32-gcc -municode -O1 -s -DPYDLL="L\"python$N.dll\"" -o "$DEST/py/python.exe" "$KIT/python_launcher.c"
x86_64-w64-mingw32-gcc -O1 -Wall -shared -s -o "$DEST/py/wsasendmsg_shim.dll" "$KIT/wsasendmsg_shim.c" -lws2_32

step "the project's dependencies and pytest, for Windows"
cat > "$DEST/install.sh" <<INSTALL
#!/bin/bash
# install.sh REQUIREMENT...: wheels for the Windows python, with what they need.  pip decides by the
# markers of the machine it runs on, so name what a package needs on Windows only (trio: cffi).
set -euo pipefail
wheels=\$(mktemp -d); trap 'rm -rf "\$wheels"' EXIT
${fetch[*]} -d "\$wheels" "\$@"
for w in "\$wheels"/*.whl; do unzip -q -o "\$w" -d "$DEST/py/Lib/site-packages"; done
INSTALL
chmod +x "$DEST/install.sh"
mapfile -t requirements < <("$PYTHON" - "$KIT/../../../pyproject.toml" <<'REQUIREMENTS'
# What pyproject.toml names, with pip's markers taken off: those for Windows would be judged by this machine.
import sys, tomllib
for line in tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"]:
    requirement, _, marker = line.partition(";")
    if not marker or "win32" in marker:
        print(requirement.strip())
REQUIREMENTS
)
"$DEST/install.sh" "${requirements[@]}" cffi colorama pytest pytest-trio hypothesis
cp "$KIT/sitecustomize.py" "$DEST/py/Lib/site-packages/"
rm -rf "$DEST/dl"

cat > "$DEST/run.sh" <<RUN
#!/bin/bash
# run.sh ARGS...: the Windows python under Wine.
# NETNS=name: inside that network namespace (with a prefix, so a wineserver, of its own).
# WSASENDMSG_SHIM=0: plain Wine, whose WSASendMsg drops the control data.
# Wine 8 cannot hand Windows Python a plain file as a standard stream, hence </dev/null and '| cat'.
export WINEDEBUG=\${WINEDEBUG:--all} WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d" WINEARCH=win64
export PYTHONPYCACHEPREFIX="Z:$DEST/pycache"   # nothing is written into a checkout
unset DISPLAY; set -o pipefail
prefix=$DEST/prefix; enter=()
if [ -n "\${NETNS:-}" ]; then
  [ -d "\$prefix-\$NETNS" ] || cp -a "\$prefix" "\$prefix-\$NETNS"
  prefix=\$prefix-\$NETNS; enter=(ip netns exec "\$NETNS")
fi
export WINEPREFIX=\$prefix
"\${enter[@]}" wine $DEST/py/python.exe "\$@" </dev/null 2>&1 | cat
RUN
chmod +x "$DEST/run.sh"

step "Wine prefix"
wait "$prefix"
"$DEST/run.sh" -c "import sys, trio; trio.run(trio.sleep, 0.01); print('windows python:', sys.version.split()[0], 'trio', trio.__version__)"
touch "$DEST/ready"
