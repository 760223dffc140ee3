// SPDX-License-Identifier: Apache-2.0
/* Files made to hurt: each is refused by a process that has 64 MiB more than it starts with and one
 * second of processor time, by the kernel's limits and not by a clock. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/compose/compose.h"
#include "runtime/base/mem.h"

enum { MEMORY = 64 << 20, SECONDS = 1, HUGE_BYTES = 100 << 20 };

/* What the child's exit code says. */
enum { REFUSED, ACCEPTED, OTHER_KIND, NO_LIMIT };

static size_t virtual_bytes(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%lu", &pages) != 1) return 0;
    fclose(f);
    return pages * (size_t) sysconf(_SC_PAGESIZE);
}

static bool limit(void) {
    struct rlimit cpu = {SECONDS, SECONDS + 1}, core = {0, 0};
    size_t now = virtual_bytes();
    struct rlimit as = {now + MEMORY, now + MEMORY};
    bool good = now && setrlimit(RLIMIT_CORE, &core) == 0;
#ifndef __SANITIZE_ADDRESS__ /* its shadow is larger than any limit, and it is slow */
    good = good && setrlimit(RLIMIT_CPU, &cpu) == 0 && setrlimit(RLIMIT_AS, &as) == 0;
#else
    (void) cpu;
    (void) as;
#endif
    return good;
}

static int load(const char *path, const char *kind) {
    char *const environment[] = {NULL};
    struct compose_options o = {.environ = environment, .project_name = "t"};
    struct compose_project *p;
    const struct compose_issue *list;
    if (!limit() || strv_add(&o.files, path) < 0) return NO_LIMIT;
    if (compose_load(&o, &p) == 0) return ACCEPTED;
    size_t n = compose_issues(p, &list);
    return n && (!kind || str_eq(list[0].kind, kind)) ? REFUSED : OTHER_KIND;
}

static void assert_file_refused(const char *path, const char *kind) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(load(path, kind));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) fail_msg("killed by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), REFUSED);
}

static void assert_refused(const char *text, const char *kind) {
    char name[] = "/tmp/orlop-limits-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    close(fd);
    assert_file_refused(name, kind);
    unlink(name);
}

/* HEAD, COUNT times PART, TAIL. */
static char *repeated(const char *head, const char *part, size_t count, const char *tail) {
    size_t h = strlen(head), p = strlen(part), n = h + p * count;
    char *text = malloc(n + strlen(tail) + 1);
    memcpy(text, head, h);
    for (size_t i = 0; i < count; i++) memcpy(text + h + i * p, part, p);
    memcpy(text + n, tail, strlen(tail) + 1);
    return text;
}

/* ---- laughs ---- */

/* Each line holds WIDTH times the one before, in FORM ("%s" = the list of aliases). */
static void laugh(const char *first, unsigned lines, unsigned width, const char *before,
                  const char *behind, const char *kind) {
    static char text[64 << 10];
    size_t n = (size_t) snprintf(text, sizeof text, "x-0: &a0 %s\n", first);
    for (unsigned i = 1; i < lines; i++) {
        n += (size_t) snprintf(text + n, sizeof text - n, "x-%u: &a%u %s", i, i, before);
        for (unsigned k = 0; k < width; k++)
            n += (size_t) snprintf(text + n, sizeof text - n, "%s*a%u", k ? ", " : "", i - 1);
        n += (size_t) snprintf(text + n, sizeof text - n, "%s\n", behind);
    }
    assert_refused(text, kind);
}

static void test_a_billion_laughs_are_refused(void **state) {
    (void) state;
    laugh("[lol, lol, lol, lol, lol, lol, lol, lol, lol]", 10, 9, "[", "]", "yaml-alias-limit");
    laugh("[a, b]", 60, 2, "[", "]", "yaml-alias-limit");
    laugh("{k: v}", 60, 2, "{l: [", "]}", "yaml-alias-limit");
    laugh("[x]", 3, 1500, "[", "]", "yaml-alias-limit");
    laugh("[x]", 500, 1, "[", "]", "yaml-depth"); /* deep by aliases alone */
}

/* ---- depth ---- */

static void refuse_levels(const char *part, const char *tail) {
    char *text = repeated("x-a:\n  ", part, 10000, tail);
    assert_refused(text, "yaml-depth");
    free(text);
}

static void test_ten_thousand_levels_are_refused(void **state) {
    (void) state;
    refuse_levels("[", "");
    refuse_levels("{a: ", "b");
    refuse_levels("- ", "b");
    refuse_levels("[{a: ", "b");
}

/* ---- size ---- */

static void test_a_hundred_megabytes_are_refused(void **state) {
    (void) state;
    char name[] = "/tmp/orlop-limits-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, HUGE_BYTES), 0);
    close(fd);
    assert_file_refused(name, "yaml-size");
    unlink(name);
}

/* Its size cannot be known before it is read. */
static void test_a_stream_without_end_is_refused(void **state) {
    (void) state;
    char name[] = "/tmp/orlop-limits-XXXXXX", line[4096];
    assert_non_null(mkdtemp(name));
    char path[sizeof name + 8];
    snprintf(path, sizeof path, "%s/fifo", name);
    assert_int_equal(mkfifo(path, 0600), 0);
    memset(line, '#', sizeof line);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        for (size_t n = 0; n < HUGE_BYTES && write(fd, line, sizeof line) > 0; n += sizeof line)
            ; /* SIGPIPE ends it when the reader has enough */
        _exit(0);
    }
    assert_file_refused(path, "yaml-size");
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    unlink(path);
    rmdir(name);
}

/* As much as a file may hold, of the smallest nodes there are: by whichever limit comes first. */
static void test_a_file_full_of_nodes_is_refused(void **state) {
    (void) state;
    static const char *const heads[] = {"x-a: [", "x-a: ", "x-a:\n"}, *const parts[] = {
                                                                          "a,", "{a: ", "- \n"};
    for (size_t i = 0; i < 3; i++) {
        char *text = repeated(heads[i], parts[i], (15 << 20) / strlen(parts[i]), "");
        assert_refused(text, NULL);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_billion_laughs_are_refused),
        cmocka_unit_test(test_ten_thousand_levels_are_refused),
        cmocka_unit_test(test_a_hundred_megabytes_are_refused),
        cmocka_unit_test(test_a_stream_without_end_is_refused),
        cmocka_unit_test(test_a_file_full_of_nodes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
