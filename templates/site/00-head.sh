#!/bin/sh
# Installs this release on a machine that has Docker or podman and no network. Needs beside the
# engine only a POSIX shell and its usual tools, openssl, sha256sum and tar.
#
# First make sure that this file is what its maker signed. With the public key from paper in
# site.pub, in the folder where release.json lies, the three lines below have to say
# "Verified OK", "bound", and "OK":
#
#   openssl dgst -sha256 -verify site.pub -signature release.sig release.json
#   grep -q "$(sha256sum checksums.txt | cut -d ' ' -f 1)" release.json && echo bound
#   grep targets/…/install.sh checksums.txt | sha256sum -c
#
# Then:
#
#   sh targets/…/install.sh install --key site.pub --site site.yaml
#
# It verifies everything again before it believes anything: signature, list, every file; holds the
# release against the site and the machine; starts the new version beside the running one; tests it
# with known answers through the real port; switches; watches; and goes back by itself when the new
# version does not hold. `sh install.sh help` tells the other commands.

# Names come from the facts and from the profile; some functions are called by name; POSIX has no
# stat, so that `ls` tells inodes and links.
# shellcheck shell=sh disable=SC2154,SC2034,SC2317,SC2329,SC2012
set -u
umask 022
LC_ALL=C
export LC_ALL
# Anything that an engine's command line would take from the caller's surroundings.
unset CDPATH ENV GREP_OPTIONS POSIXLY_CORRECT DOCKER_DEFAULT_PLATFORM 2>/dev/null

