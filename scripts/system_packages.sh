#!/usr/bin/env bash
# Install what pip cannot: a Python that makes virtual environments, the libraries Qt loads, and the
# virtual display of the tests. Runs nothing where all is there. Where it may not install (neither
# root nor password-less sudo, or no apt), it prints the line to type and lets the caller go on.
set -u

[ "$(uname -s)" = Linux ] || exit 0
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

# shared library            Debian, Ubuntu        Fedora
libraries='
libEGL.so.1                 libegl1               libglvnd-egl
libGL.so.1                  libgl1                libglvnd-glx
libOpenGL.so.0              libopengl0            libglvnd-opengl
libdbus-1.so.3              libdbus-1-3           dbus-libs
libfontconfig.so.1          libfontconfig1        fontconfig
libglib-2.0.so.0            libglib2.0-0          glib2
libgssapi_krb5.so.2         libgssapi-krb5-2      krb5-libs
libX11-xcb.so.1             libx11-xcb1           libX11-xcb
libxcb-cursor.so.0          libxcb-cursor0        xcb-util-cursor
libxcb-icccm.so.4           libxcb-icccm4         xcb-util-wm
libxcb-image.so.0           libxcb-image0         xcb-util-image
libxcb-keysyms.so.1         libxcb-keysyms1       xcb-util-keysyms
libxcb-randr.so.0           libxcb-randr0         libxcb
libxcb-render-util.so.0     libxcb-render-util0   xcb-util-renderutil
libxcb-shape.so.0           libxcb-shape0         libxcb
libxcb-xkb.so.1             libxcb-xkb1           libxcb
libxkbcommon.so.0           libxkbcommon0         libxkbcommon
libxkbcommon-x11.so.0       libxkbcommon-x11-0    libxkbcommon-x11
'

debian='' fedora=''
known=$(ldconfig -p 2>/dev/null)
while read -r soname deb rpm; do
    [ -n "$soname" ] || continue
    case $known in *"$soname"*) continue ;; esac
    debian="$debian $deb" fedora="$fedora $rpm"
done <<<"$libraries"
if ! command -v Xvfb >/dev/null; then
    debian="$debian xvfb" fedora="$fedora xorg-x11-server-Xvfb"
fi
if ! "$here/find_python.sh" >/dev/null 2>&1; then
    debian="$debian python3 python3-venv" fedora="$fedora python3"
fi
[ -n "$debian" ] || exit 0

as_root=''
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then as_root=sudo; else as_root='needs a password'; fi
fi

if command -v apt-get >/dev/null && [ "$as_root" != 'needs a password' ]; then
    echo "Installing system libraries:$debian"
    apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
    apt update || echo "apt-get update failed; trying with the package lists at hand." >&2
    # shellcheck disable=SC2086  # the list is meant to be split
    apt install -y --no-install-recommends $debian >/dev/null && exit 0
    echo "apt-get could not install them. Type this, then run make again:" >&2
else
    echo "System libraries are missing, and this account may not install them. Type this:" >&2
fi
if command -v dnf >/dev/null; then
    echo "    sudo dnf install$fedora" >&2
elif command -v apt-get >/dev/null; then
    echo "    sudo apt-get update && sudo apt-get install --no-install-recommends$debian" >&2
else
    echo "    (your package manager's names for, in Debian's words)$debian" >&2
fi
echo "Going on; the window and its tests need them." >&2
