#!/bin/sh
# Makes sure that there is a Chromium: installs Debian's where that is possible, or says what to install.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends chromium fonts-dejavu-core
else
    echo "make browser needs Chromium: install it so that \`chromium\` is found, such as with: sudo apt-get install chromium" >&2
    exit 1
fi
