# awk -v gaps=FILE -v events=FILE -v name=PREFIX -f kill_lines.awk LINES
#
# Are the lines of numbered.c in LINES ("HOST o|e START NUMBER ...") each there once and in order? What has
# ended, says events, is whole too, unless it ended when anchor and keeper both lacked (gaps; 3 s before as well:
# what waits in a FIFO then). Prints what is wrong, or how many lines there were.
function bad(what) {
    print what
    failed = 1
    exit 1
}
function excused(t, i) {
    for (i = 0; i < n_gaps; i++)
        if (t > from[i] - 3e9 && t < to[i]) return 1
    return 0
}
BEGIN {
    while ((getline < gaps) > 0)
        if ($1 == "both") {
            from[n_gaps + 0] = $2
            to[n_gaps++] = $3
        }
    while ((getline < events) > 0)
        if ($1 == "end" && index($2, name) == 1 && !excused($4)) {
            whole[$2 " o " $3] = $5
            whole[$2 " e " $3] = $5
        }
}
{
    key = $1 " " $2 " " $3
    if ($4 != next_[key] + 0) bad("line " NR ": " key ": " next_[key] + 0 " is expected, not " substr($0, 1, 60))
    next_[key]++
}
END {
    if (failed) exit 1
    for (key in whole)
        if (next_[key] + 0 != whole[key]) bad(key ": " next_[key] + 0 " lines of " whole[key])
    if (!NR) bad("no lines")
    print NR
}
