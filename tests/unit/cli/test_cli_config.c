// SPDX-License-Identifier: Apache-2.0
/* `orlop config`: what each of its options prints, as scripts read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "runtime/base/mem.h"

struct said {
    int code;
    char out[3000], err[3000];
};

static int redirect(int fd, FILE *to) {
    int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    assert_true(saved >= 0 && dup2(fileno(to), fd) == fd);
    return saved;
}

static void take_back(int fd, int saved, FILE *from, char *text, size_t size) {
    assert_true(dup2(saved, fd) == fd);
    close(saved);
    rewind(from);
    text[fread(text, 1, size - 1, from)] = '\0';
    fclose(from);
}

/* Words separated by blanks, behind "config -f FILE". */
static void config(const char *line, struct said *ret) {
    char copy[256], *argv[16] = {(char *) (uintptr_t) "config", (char *) (uintptr_t) "-f",
                                 (char *) (uintptr_t) CONFIG_FILE};
    int argc = 3;
    struct cli cli = {0};
    const struct verb *v = cli_verbs;
    while (!str_eq(v->name, "config")) v++;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save = NULL, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out && err);
    fflush(stdout);
    fflush(stderr);
    int saved_out = redirect(1, out), saved_err = redirect(2, err);
    ret->code = v->run(&cli, argc, argv);
    fflush(stdout);
    fflush(stderr);
    take_back(1, saved_out, out, ret->out, sizeof ret->out);
    take_back(2, saved_err, err, ret->err, sizeof ret->err);
    strv_fini(&cli.project.files);
    strv_fini(&cli.project.env_files);
    strv_fini(&cli.project.profiles);
}

static void test_parts_are_one_name_a_line(void **state) {
    (void) state;
    static const struct {
        const char *line, *out;
    } t[] = {
        {"--services", "api\nweb\n"},
        {"--profile debug --services", "api\nshell\nweb\n"},
        {"--profile * --services", "api\ndb\nshell\nweb\n"},
        {"--images", "api\nnginx:1\n"},
        {"--profile debug --images", "api\nshop-shell\nnginx:1\n"},
        {"--no-interpolate --images", "${API:-api}\nnginx:${TAG:-1}\n"},
        {"--volumes", "data\nother\n"},
        {"--networks", "back\ndefault\nfront\n"},
        {"--profiles", "all\ndebug\n"},
        {"--profile debug --profiles", "all\ndebug\n"},
        {"--quiet --services", ""},
        {"--services web", "api\nweb\n"},
        {"--services api", "api\n"},
        {"--networks api", "back\nfront\n"},
        {"--volumes api", "data\n"},
        {"--services shell", "shell\n"},
        {"--no-interpolate --images shell api", "${API:-api}\nshop-shell\n"},
    };
    struct said s;
    for (size_t i = 0; i < array_len(t); i++) {
        config(t[i].line, &s);
        if (s.code || !str_eq(s.out, t[i].out) || *s.err)
            fail_msg("%s: code %d, out \"%s\", err \"%s\"", t[i].line, s.code, s.out, s.err);
    }
}

/* The digest of what a container is, not of how many there are or what they wait for. */
static void test_hash_is_of_the_service_alone(void **state) {
    (void) state;
    struct said all, one;
    config("--hash *", &all);
    assert_int_equal(all.code, 0);
    assert_string_equal(all.out,
                        "api e94ebd0abde23abe0ed6a927d61fa35358ed5e50a909d83a88ac48342ab9a0c5\n"
                        "web 2cf1fe9c39cbbc5be7373586951cbfd709c1dd98b44350e2ca97c3714a26dbd7\n");
    config("--hash web", &one);
    assert_non_null(strstr(all.out, one.out));
    config("--hash web,no", &one);
    assert_int_equal(one.code, EXIT_NOT_FOUND);
    assert_string_equal(one.err, "orlop: there is no service 'no'\n");
}

static void test_what_up_would_refuse_is_told(void **state) {
    (void) state;
    struct said s;
    config("-q --profile debug", &s);
    assert_int_equal(s.code, 0);
    assert_string_equal(s.out, "");
    assert_non_null(strstr(s.err, "compose.yaml:16:5: warning: services.shell.storage_opt: "));
    assert_non_null(strstr(s.err, "compose.yaml:17:5: warning: services.shell.user: user \"a b\""));
    assert_non_null(strstr(s.err, "orlop: 'orlop up' will refuse this: 3 findings\n"));
    config("-q --profile debug --no-consistency", &s);
    assert_string_equal(s.err, "");
}

static void test_variables_are_those_that_the_files_ask_for(void **state) {
    (void) state;
    struct said s;
    char name[] = "/tmp/config-variables-XXXXXX", line[100];
    static const char text[] = "services:\n  a:\n    image: ${IMG:?which}\n"
                               "    user: $WHO\n    hostname: ${A:+b}${C-${D:-e}}$$F\n"
                               "    ports: [\"${PORT}:80\"]\n";
    int fd = mkostemp(name, O_CLOEXEC);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    snprintf(line, sizeof line, "--variables -f %s", name);
    config(line, &s);
    unlink(name);
    assert_int_equal(s.code, 0);
    assert_string_equal(s.out, "NAME   REQUIRED   DEFAULT VALUE   ALTERNATE VALUE\n"
                               "A      false                      b\n"
                               "API    false      api             \n"
                               "C      false      ${D:-e}         \n"
                               "D      false      e               \n"
                               "IMG    true                       \n"
                               "PORT   false                      \n"
                               "TAG    false      1               \n"
                               "WHO    false                      \n");
    config("--variables --format json", &s);
    assert_non_null(strstr(s.out, "\"default\": \"api\""));
}

static void test_environment_is_what_variables_are_looked_up_in(void **state) {
    (void) state;
    struct said s;
    char *const own[] = {(char *) (uintptr_t) "TAG=7", (char *) (uintptr_t) "A=1", NULL};
    char **before = environ;
    char name[] = "/tmp/config-environment-XXXXXX", line[100];
    int fd = mkostemp(name, O_CLOEXEC);
    assert_int_equal(write(fd, "TAG=8\nB=2\n", 10), 10);
    close(fd);
    snprintf(line, sizeof line, "--environment --env-file %s", name);
    environ = (char **) (uintptr_t) own;
    config(line, &s);
    environ = before;
    unlink(name);
    assert_string_equal(s.out, "A=1\nB=2\nCOMPOSE_PROJECT_NAME=shop\nTAG=7\n");
}

static void test_output_goes_into_a_file_once_it_is_right(void **state) {
    (void) state;
    struct said s;
    char name[] = "/tmp/config-output-XXXXXX", line[100], text[100] = "";
    int fd = mkostemp(name, O_CLOEXEC);
    assert_int_equal(write(fd, "old", 3), 3);
    snprintf(line, sizeof line, "--services -o %s nono", name);
    config(line, &s);
    assert_int_equal(s.code, EXIT_NOT_FOUND);
    assert_int_equal(pread(fd, text, sizeof text - 1, 0), 3);
    snprintf(line, sizeof line, "--services --output %s", name);
    config(line, &s);
    assert_int_equal(s.code, 0);
    assert_string_equal(s.out, "");
    assert_int_equal(pread(fd, text, sizeof text - 1, 0), 8);
    assert_string_equal(text, "api\nweb\n");
    close(fd);
    unlink(name);
    config("-o /nowhere/x", &s);
    assert_int_equal(s.code, EXIT_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_one_name_a_line),
        cmocka_unit_test(test_hash_is_of_the_service_alone),
        cmocka_unit_test(test_variables_are_those_that_the_files_ask_for),
        cmocka_unit_test(test_environment_is_what_variables_are_looked_up_in),
        cmocka_unit_test(test_output_goes_into_a_file_once_it_is_right),
        cmocka_unit_test(test_what_up_would_refuse_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
