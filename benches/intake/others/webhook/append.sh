#!/bin/sh
# Appends an event to the log and waits until it is on disk.
set -e
printf '%s\n' "$1" >> events.log
sync events.log
