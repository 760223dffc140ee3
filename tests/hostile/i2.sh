#!/bin/bash
# I2: decompression bombs (GHSA-gcpm-8w8q-gp9v, GHSA-259w): what comes out is counted, not what goes in.
# The import ends within its budget, the disk is as before, little memory is taken. Entries, depth and
# sizes with small limits: tests/unit/image.
. "$(dirname "$0")/store.sh"
for bomb in bomb.tar.gz bomb.tar.zst; do
    file=$test_dir/tars/refuse-$bomb
    [ "$(stat -c %s "$file")" -lt 2000000 ] || fail "$bomb is no bomb"
    if import "$file" bomb:1; then fail "$bomb is an image now"; fi
    case $said in *"expands more than"*) ;; *) fail "$bomb: $said" ;; esac
    [ "$memory" -lt 60000 ] || fail "$bomb took $memory KiB"
    echo "$bomb: $memory KiB; $said"
    [ "$(du -s "$store" | cut -f1)" -lt 128 ] || fail "$bomb: $(du -s "$store")"
done
expect "left in the store's tmp" "" "$(ls -A "$store/tmp")"
