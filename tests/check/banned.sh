#!/bin/bash
# Functions that the house style bans outside their wrappers (CMake's folder `tests` is free to fork).
set -u
bad=0
# ban NAMES [ALLOWED-FILES-REGEX]
ban() {
    if grep -rnE --include='*.[ch]' "(^|[^a-zA-Z0-9_.>])($1)\(" agent cli proto runtime scheduler deploy | grep -vE "^[^:]+:[0-9]+: *(/\*|\*|//)" | grep -vE "${2:-^$}"; then
        echo "  ^ banned: $1"
        bad=1
    fi
}
ban 'strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|gets|alloca|system|popen|sleep|usleep|rand|srand|localtime|gmtime|strerror|mktemp|tmpnam'
# signal(2) only to ignore or to reset: a handler needs sigaction's guarantees.
ban 'signal' 'signal\([^,]*, SIG_(IGN|DFL)\)'
ban 'malloc|calloc|realloc|strdup|strndup' '^runtime/base/mem.c:|^deploy/examples/'
ban 'mount|umount|umount2|pivot_root' '^runtime/base/sys.c:'
exit $bad
