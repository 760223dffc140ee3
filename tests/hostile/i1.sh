#!/bin/bash
# I1: archives that write, delete, change or link outside of their root (GO-2022-0921, GO-2024-3073,
# GO-2026-4278): every kind of entry under every kind of name that leads out, and odd names, attributes,
# numbers. Whatever is said of the image, nothing outside changes; what must be refused is.
. "$(dirname "$0")/store.sh"
echo victim >"$canary/victim"
ln "$canary/victim" "$canary/linked" # a hard link to it would show in the count
chmod 700 "$canary"
touch -d 2020-01-01 "$canary/victim" "$canary"
outside() {
    find "$canary" -printf '%p %y %m %U:%G %s %T@ %n %l\n' | sort
    cat "$canary/victim"
}
before=$(outside)
n=0
for tar in "$test_dir"/tars/*.tar; do
    name=$(basename "$tar" .tar)
    if import "$tar" "evil:$name"; then
        case $name in refuse-*) fail "$name is an image now" ;; esac
    else
        [ ${#said} -gt 15 ] || fail "$name: no sentence"
    fi
    expect "outside of $name" "$before" "$(outside)"
    n=$((n + 1))
done
[ $n -gt 55 ] || fail "only $n archives"
expect "left in the store's tmp" "" "$(ls -A "$store/tmp")"
echo "$n archives"
