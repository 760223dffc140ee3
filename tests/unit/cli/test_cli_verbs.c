// SPDX-License-Identifier: Apache-2.0
/* The verbs against a fake scheduler: exit codes, and what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "fake.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { OUT_MAX = 16 << 20 };

struct rig {
    char dir[64], run[80];
    struct fake *fake;
    int saved[3];
    char *out, *err; /* of the last verb */
};

static void redirect(struct rig *r, int fd, const char *name, int flags) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int to = open(path, flags | O_CLOEXEC, 0600);
    assert_true(to >= 0);
    r->saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    assert_true(dup2(to, fd) == fd);
    close(to);
}

static char *take_back(struct rig *r, int fd, const char *name) {
    char path[128];
    char *text = NULL;
    size_t n;
    dup2(r->saved[fd], fd);
    close(r->saved[fd]);
    if (!name) return NULL;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    assert_int_equal(fd_read_file(AT_FDCWD, path, OUT_MAX, &text, &n), 0);
    unlink(path);
    return text;
}

/* Words separated by blanks. */
static int verb(struct rig *r, const char *line) {
    char copy[512], *argv[32] = {0};
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save = NULL, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    struct cli cli = {.run_dir = r->run, .state_dir = r->run};
    const struct verb *v = cli_verbs;
    while (v->name && !str_eq(v->name, argv[0])) v++;
    mem_free(r->out);
    mem_free(r->err);
    redirect(r, 0, "in", O_RDONLY | O_CREAT);
    redirect(r, 1, "out", O_WRONLY | O_CREAT | O_TRUNC);
    redirect(r, 2, "err", O_WRONLY | O_CREAT | O_TRUNC);
    int code = v->run(&cli, argc, argv);
    fflush(stdout);
    fflush(stderr);
    r->out = take_back(r, 1, "out");
    r->err = take_back(r, 2, "err");
    take_back(r, 0, NULL);
    strv_fini(&cli.project.files);
    strv_fini(&cli.project.env_files);
    strv_fini(&cli.project.profiles);
    return code;
}

static void write_file(struct rig *r, const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static int setup(void **state) {
    struct rig *r = mem_zalloc(sizeof *r);
    snprintf(r->dir, sizeof r->dir, "%s/orlop-cli-XXXXXX", P_tmpdir);
    if (!mkdtemp(r->dir)) return -1;
    snprintf(r->run, sizeof r->run, "%s/run", r->dir);
    if (mkdir(r->run, 0700) < 0 || chdir(r->dir) < 0) return -1;
    (void) signal(SIGPIPE, SIG_IGN);
    r->fake = fake_start(r->run);
    *state = r;
    return 0;
}

static int teardown(void **state) {
    struct rig *r = *state;
    if (r->fake) fake_stop(r->fake);
    int e = chdir("/");
    e |= fd_remove_tree(AT_FDCWD, r->dir);
    mem_free(r->out);
    mem_free(r->err);
    mem_free(r);
    return e;
}

static void test_not_running_is_said(void **state) {
    struct rig *r = *state;
    fake_stop(r->fake);
    r->fake = NULL;
    assert_int_equal(verb(r, "ps -p shop"), EXIT_NOT_RUNNING);
    assert_non_null(strstr(r->err, "orlop is not running (nobody listens at "));
    assert_non_null(strstr(r->err, "'orlop dev'"));
    assert_int_equal(verb(r, "version"), EXIT_OK);
    assert_non_null(strstr(r->out, "not running"));
}

static void test_lists_are_joined_and_printed(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "ps -p shop"), EXIT_OK);
    assert_non_null(strstr(r->out, "NAME         IMAGE   COMMAND   SERVICE   STATUS    PORTS\n"));
    assert_non_null(strstr(r->out, "shop-web-1"));
    assert_non_null(strstr(r->out, "shop-web-2"));
    assert_int_equal(verb(r, "ps -p shop --format json other"), EXIT_NOT_FOUND);
    assert_string_equal(r->out, "");
    assert_int_equal(verb(r, "ps -p shop --services"), EXIT_OK);
    assert_string_equal(r->out, "web\n");
    assert_int_equal(verb(r, "node ls"), EXIT_OK);
    assert_int_equal(verb(r, "node ls --format json"), EXIT_OK);
}

static void test_refusals_have_their_code(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "task inspect no-such"), EXIT_NOT_FOUND);
    assert_string_equal(r->err, "orlop: there is no task like that\n");
    assert_int_equal(verb(r, "app ls"), EXIT_NOT_PERMITTED);
    assert_int_equal(verb(r, "down"), EXIT_USAGE); /* no app named */
    assert_int_equal(verb(r, "scale -p shop web"), EXIT_USAGE);
    assert_int_equal(verb(r, "scale -p shop web=-1"), EXIT_USAGE);
    assert_int_equal(verb(r, "logs -p shop --since never"), EXIT_USAGE);
    assert_int_equal(verb(r, "exec -p shop -t web sh"), EXIT_USAGE);
    assert_int_equal(verb(r, "dev --keep"), EXIT_USAGE);
    assert_int_equal(verb(r, "dev --shutdown"), EXIT_USAGE);
    assert_int_equal(verb(r, "dev --stop --keep --shutdown"), EXIT_USAGE);
    assert_int_equal(verb(r, "node nope"), EXIT_USAGE);
    for (const struct verb *v = cli_verbs; v->name; v++) {
        char line[64];
        snprintf(line, sizeof line, "%s --help", v->name);
        assert_int_equal(verb(r, line), EXIT_OK);
        assert_non_null(strstr(r->out, "usage: orlop "));
    }
}

static void test_up_pins_images_and_waits_until_ready(void **state) {
    struct rig *r = *state;
    write_file(r, "compose.yaml", "name: shop\nservices: {web: {image: x}}\n");
    assert_int_equal(verb(r, "up"), EXIT_OK);
    assert_int_equal(fake_polls(r->fake), 3);
    assert_non_null(strstr(r->err, "shop: revision 1 written\n"));
    assert_non_null(strstr(r->err, "web: waiting, 0 of 2 ready: exec /nope"));
    assert_non_null(strstr(r->err, "web: ready, 2 of 2 ready\n"));
    assert_int_equal(verb(r, "up -d"), EXIT_OK);
    assert_int_equal(fake_polls(r->fake), 4); /* one look whether anything had failed */
    assert_int_equal(fake_recreated(r->fake), 0);
    assert_int_equal(verb(r, "up nope"), EXIT_NOT_FOUND);
}

static void test_up_of_what_fails_says_why(void **state) {
    struct rig *r = *state;
    write_file(r, "compose.yaml", "name: bad\nservices: {web: {image: x}}\n");
    assert_int_equal(verb(r, "up"), EXIT_DEPLOYMENT);
    assert_non_null(
        strstr(r->err, "service web of bad failed: exec /nope: No such file or directory\n"));
    assert_non_null(strstr(r->err, "  web is not there because of a test\n"));
    assert_int_equal(fake_recreated(r->fake), 0);
    assert_int_equal(verb(r, "up"), EXIT_DEPLOYMENT); /* what has failed is tried again */
    assert_int_equal(fake_recreated(r->fake), 1);
}

static void test_up_without_the_image_names_the_place(void **state) {
    struct rig *r = *state;
    write_file(r, "compose.yaml",
               "name: shop\nservices:\n  a: {image: missing}\n  b:\n    image: missing\n");
    assert_int_equal(verb(r, "up"), EXIT_MANIFEST);
    assert_non_null(strstr(r->err, ": services.a.image: there is no image 'missing'"));
    assert_non_null(strstr(r->err, "compose.yaml:3:"));
    assert_non_null(strstr(r->err, "compose.yaml:5:"));
    assert_non_null(strstr(r->err, "orlop image import"));
    assert_int_equal(fake_polls(r->fake), 0);
}

static void test_down_waits_until_it_is_gone(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "down -p gone"), EXIT_OK);
    assert_int_equal(fake_polls(r->fake), 2);
    assert_non_null(strstr(r->err, "gone: removed\n"));
}

static void test_down_does_not_wait_for_what_is_deployed_again(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "down -p again"), EXIT_FAILED);
    assert_int_equal(fake_polls(r->fake), 2);
    assert_non_null(strstr(r->err, "again is wanted again"));
}

static void test_logs_are_prefixed_and_never_torn(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "logs -p shop"), EXIT_OK);
    assert_string_equal(r->out,
                        "shop-db-1   | other\nshop-web-1  | one line\nshop-db-1   | no newline\n"
                        "shop-web-1  | $ \n");
    assert_int_equal(verb(r, "logs -p shop --no-log-prefix -t"), EXIT_OK);
    assert_non_null(strstr(r->out, "2023-11-14T22:13:20.000000000Z one line\n"));
}

static void test_logs_add_nothing_to_a_line_of_any_length(void **state) {
    struct rig *r = *state;
    assert_int_equal(verb(r, "logs -p long --no-log-prefix"), EXIT_OK);
    const char *from = strchr(r->out, 'x');
    assert_non_null(from);
    assert_int_equal(strspn(from, "x"), FAKE_LONGEST);
    assert_string_equal(from + FAKE_LONGEST, "end\n$ ");
}

static void test_exec_passes_streams_and_code(void **state) {
    struct rig *r = *state;
    char *big = mem_alloc(3000001);
    for (size_t i = 0; i < 3000000; i++) big[i] = (char) ('a' + i % 23);
    big[3000000] = 0;
    write_file(r, "in", big);
    assert_int_equal(verb(r, "exec -p shop web cat"), 7);
    assert_int_equal(strlen(r->out), 3000000);
    assert_memory_equal(r->out, big, 3000000);
    write_file(r, "in", "");
    assert_int_equal(verb(r, "exec -T -p shop web cat"), 7);
    assert_string_equal(r->out, "");
    mem_free(big);
}

/* --- on a terminal -------------------------------------------------------------------------- */

struct typist {
    struct fake *fake;
    int master;
    bool echoed, raw;
    unsigned rows_at_start;
};

static bool is_raw(int fd) {
    struct termios now;
    return tcgetattr(fd, &now) == 0 && !(now.c_lflag & (ICANON | ISIG | ECHO));
}

/* Types once the terminal is raw, waits for what comes back through the stream, then resizes the
 * window, which ends it. */
static void typist(void *arg) {
    struct typist *t = arg;
    char got[64] = {0};
    size_t n = 0;
    while (!is_raw(t->master)) uv_sleep(1);
    if (write(t->master, "a\003b", 3) != 3) return;
    while (n < 3) {
        ssize_t k = read(t->master, got + n, sizeof got - n);
        if (k <= 0) return;
        n += (size_t) k;
    }
    t->echoed = memcmp(got, "a\003b", 3) == 0;
    t->raw = is_raw(t->master);
    t->rows_at_start = fake_rows(t->fake);
    struct winsize w = {.ws_row = FAKE_END_ROWS, .ws_col = 132};
    (void) ioctl(t->master, TIOCSWINSZ, &w);
    (void) kill(getpid(), SIGWINCH); /* the terminal is not our controlling one */
}

static void test_exec_on_a_terminal_is_raw_and_restored(void **state) {
    struct rig *r = *state;
    struct winsize w = {.ws_row = 24, .ws_col = 80};
    struct typist t = {.fake = r->fake};
    int slave;
    struct termios before, after;
    assert_int_equal(openpty(&t.master, &slave, NULL, NULL, &w), 0);
    assert_int_equal(tcgetattr(slave, &before), 0);
    int in = fcntl(0, F_DUPFD_CLOEXEC, 10), out = fcntl(1, F_DUPFD_CLOEXEC, 10);
    fflush(stdout);
    dup2(slave, 0);
    dup2(slave, 1);
    uv_thread_t thread;
    uv_thread_create(&thread, typist, &t);
    char line[] = "exec", app[] = "-pshop", flags[] = "-it", web[] = "web", sh[] = "sh";
    struct cli cli = {.run_dir = r->run, .state_dir = r->run};
    int code = cmd_exec(&cli, 5, (char *[]){line, app, flags, web, sh, NULL});
    dup2(in, 0);
    dup2(out, 1);
    close(in);
    close(out);
    uv_thread_join(&thread);
    assert_int_equal(tcgetattr(slave, &after), 0);
    close(slave);
    close(t.master);
    assert_int_equal(code, FAKE_END_CODE);
    assert_true(t.echoed && t.raw);
    assert_int_equal(t.rows_at_start, 24);
    assert_int_equal(after.c_lflag, before.c_lflag);
    assert_int_equal(after.c_iflag, before.c_iflag);
}

/* --- an output that is not read ------------------------------------------------------------- */

struct reader {
    struct fake *fake;
    int fd;
    size_t bytes;
};

/* Reads only once the other end has had to wait. */
static void late_reader(void *arg) {
    struct reader *rd = arg;
    static char chunk[65536];
    while (fake_stalls(rd->fake) == 0) uv_sleep(1);
    for (ssize_t n; (n = read(rd->fd, chunk, sizeof chunk)) > 0;) rd->bytes += (size_t) n;
}

static void test_output_that_is_not_read_stops_the_sender(void **state) {
    struct rig *r = *state;
    int fds[2];
    struct reader rd = {.fake = r->fake};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    rd.fd = fds[0];
    fflush(stdout);
    int out = fcntl(1, F_DUPFD_CLOEXEC, 10);
    dup2(fds[1], 1);
    close(fds[1]);
    uv_thread_t thread;
    uv_thread_create(&thread, late_reader, &rd);
    char line[] = "logs", app[] = "-pbig", flag[] = "--no-log-prefix";
    struct cli cli = {.run_dir = r->run, .state_dir = r->run};
    int code = cmd_logs(&cli, 3, (char *[]){line, app, flag, NULL});
    int flags = fcntl(1, F_GETFL);
    dup2(out, 1);
    close(out);
    uv_thread_join(&thread);
    close(fds[0]);
    assert_int_equal(code, EXIT_OK);
    assert_int_equal(rd.bytes, (size_t) FAKE_BIG_LINES * FAKE_BIG_LINE);
    assert_true(fake_stalls(r->fake) > 0);
    assert_false(flags & O_NONBLOCK);
}

static void test_closed_output_is_no_error(void **state) {
    struct rig *r = *state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    fflush(stdout);
    int out = fcntl(1, F_DUPFD_CLOEXEC, 10);
    dup2(fds[1], 1);
    close(fds[1]);
    char line[] = "logs", app[] = "-pbig";
    struct cli cli = {.run_dir = r->run, .state_dir = r->run};
    int code = cmd_logs(&cli, 2, (char *[]){line, app, NULL});
    dup2(out, 1);
    close(out);
    assert_int_equal(code, EXIT_OK);
}

static void test_import_sends_every_byte_of_a_file(void **state) {
    struct rig *r = *state;
    char *big = mem_alloc(5000001);
    uint64_t sum = 0;
    for (size_t i = 0; i < 5000000; i++) sum += (unsigned char) (big[i] = (char) (1 + i % 97));
    big[5000000] = 0;
    write_file(r, "image.tar", big);
    assert_int_equal(verb(r, "image import image.tar x"), EXIT_OK);
    assert_int_equal(fake_imported(r->fake), 5000000);
    assert_int_equal(fake_imported_sum(r->fake), sum);
    assert_non_null(strstr(r->out, "sha256:abc"));
    write_file(r, "in", "abc");
    assert_int_equal(verb(r, "image import -q - x"), EXIT_OK);
    assert_int_equal(fake_imported(r->fake), 3);
    assert_string_equal(r->out, "sha256:abc\n");
    assert_int_equal(verb(r, "image import nowhere.tar x"), EXIT_NOT_FOUND);
    mem_free(big);
}

static void test_import_packs_a_directory(void **state) {
    struct rig *r = *state;
    assert_int_equal(fd_mkdirs(AT_FDCWD, "root/etc", 0755), 0);
    write_file(r, "root/etc/hosts", "127.0.0.1 localhost\n");
    assert_int_equal(link("root/etc/hosts", "root/etc/hosts2"), 0);
    assert_int_equal(symlink("/nowhere", "root/etc/link"), 0);
    assert_int_equal(verb(r, "image import root x"), EXIT_OK);
    assert_true(fake_imported(r->fake) >= 5 * 512);
    assert_int_equal(fake_imported(r->fake) % 512, 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_not_running_is_said),
        T(test_lists_are_joined_and_printed),
        T(test_refusals_have_their_code),
        T(test_up_pins_images_and_waits_until_ready),
        T(test_up_of_what_fails_says_why),
        T(test_up_without_the_image_names_the_place),
        T(test_down_waits_until_it_is_gone),
        T(test_down_does_not_wait_for_what_is_deployed_again),
        T(test_logs_are_prefixed_and_never_torn),
        T(test_logs_add_nothing_to_a_line_of_any_length),
        T(test_exec_passes_streams_and_code),
        T(test_exec_on_a_terminal_is_raw_and_restored),
        T(test_output_that_is_not_read_stops_the_sender),
        T(test_closed_output_is_no_error),
        T(test_import_sends_every_byte_of_a_file),
        T(test_import_packs_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
