// SPDX-License-Identifier: Apache-2.0
/* What people type: options, durations, points in time. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/duration.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void) argc, (void) argv;
    stdout = stderr = fopen("/dev/null", "we"); /* the usage line, for each wrong word */
    return stderr ? 0 : -1;
}

/* Words are separated by newlines. */
static void options(char *text) {
    static const struct usage usage = {
        .line = "fuzz [OPTIONS] [WORD...]", .summary = "Nothing.", .max = -1};
    char *words[WORDS_MAX + 2] = {(char[]){"fuzz"}}, *save = NULL;
    int n = 1;
    for (char *w = strtok_r(text, "\n", &save); w && n <= WORDS_MAX;
         w = strtok_r(NULL, "\n", &save))
        words[n++] = w;
    struct cli cli = {0};
    struct args args = {0};
    bool flag = false, clear = true;
    const char *value = NULL;
    struct strv list = {0};
    uint32_t number = 0;
    const struct opt opts[] = {{'f', "flag", NULL, OPT_FLAG, &flag, "a flag"},
                               {0, "no-clear", NULL, OPT_CLEAR, &clear, "a flag"},
                               {'t', "text", "TEXT", OPT_TEXT, &value, "a text"},
                               {'l', "list", "TEXT", OPT_LIST, &list, "a list"},
                               {'n', "number", "N", OPT_NUMBER, &number, "a number"},
                               {0}};
    if (args_parse(&cli, &usage, opts, n % 2, n, words, &args) == 0) {
        ensure(args.n >= 0 && args.n < n && args.operands[args.n] == NULL);
        mem_free(args.operands);
    }
    strv_fini(&list);
    strv_fini(&cli.project.files);
    strv_fini(&cli.project.profiles);
    strv_fini(&cli.project.env_files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 4096) return 0;
    auto_free char *text = mem_strndup((const char *) data + 1, size - 1);
    int64_t v = -1;
    char stamp[DURATION_STAMP_MAX];
    if (!text) return 0;
    switch (data[0] % 3) {
    case 0:
        if (duration_parse(text, &v) == 0) ensure(v >= 0);
        break;
    case 1:
        if (duration_parse_time(text, INT64_C(1700000000000000000), &v) == 0)
            ensure(strlen(duration_stamp(v, stamp)) < sizeof stamp);
        break;
    default:
        options(text);
    }
    return 0;
}
