#!/bin/bash
# Every C file is as clang-format 14 with the tree's .clang-format makes it.
set -u
command -v clang-format >/dev/null || { echo "SKIP: no clang-format"; exit 77; }
clang-format --version | grep -q ' 14\.' || { echo "SKIP: clang-format 14 is the pinned version"; exit 77; }
find agent cli proto runtime scheduler deploy tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run --Werror 2>&1 | grep -E 'error' | sed 's/ error:.*//' | cut -d: -f1 | sort | uniq -c | { ! grep .; }
