// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports.h"
#include "agent/volumes.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

static char dir[64];

static int setup(void **state) {
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/orlop-volumes-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void) state;
    return fd_remove_tree(AT_FDCWD, dir);
}

static const char *in_dir(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_file(const char *name, const char *text, mode_t mode) {
    assert_int_equal(fd_replace_file(AT_FDCWD, in_dir(name), text, strlen(text), 0600), 0);
    assert_int_equal(chmod(in_dir(name), mode), 0);
}

static void test_names_cannot_leave_the_folder(void **state) {
    (void) state;
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {{"shop_data", true}, {"a.b-c", true},    {"", false},   {".", false},
                 {"..", false},       {"a/b", false},     {"-a", false}, {".x", false},
                 {"a b", false},      {"\xc3\xa4", false}};
    for (size_t i = 0; i < array_len(cases); i++)
        if (volumes_name_ok(cases[i].name) != cases[i].ok) fail_msg("%s", cases[i].name);
}

/* What the image calls a volume must not reach the host. */
static void test_copy_never_follows_a_symlink_out(void **state) {
    (void) state;
    assert_int_equal(mkdir(in_dir("root"), 0755), 0);
    assert_int_equal(mkdir(in_dir("outside"), 0755), 0);
    make_file("outside/secret", "host", 0600);
    assert_int_equal(symlink("../../outside", in_dir("root/data")), 0);
    auto_fd int root = open(in_dir("root"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    char volume[128];
    snprintf(volume, sizeof volume, "%s/v", dir);
    struct err err = {0};
    assert_int_equal(volumes_make(volume, "app", root, "/data", &err),
                     0); /* resolves inside the root: nothing */
    assert_int_equal(access(in_dir("v/_data/secret"), F_OK), -1);
    assert_int_equal(unlink(in_dir("root/data")), 0);
    assert_int_equal(mkdir(in_dir("root/data"), 0750), 0);
    assert_int_equal(symlink("/etc/passwd", in_dir("root/data/link")), 0);
    make_file("root/data/file", "image", 0640);
    assert_int_equal(volumes_make(volume, "app", root, "/data", &err),
                     0); /* empty: is filled now */
    char target[64] = "";
    assert_int_equal(readlink(in_dir("v/_data/link"), target, sizeof target - 1), 11);
    assert_string_equal(target, "/etc/passwd");
    struct stat st;
    assert_int_equal(stat(in_dir("v/_data/file"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(stat(in_dir("v/_data"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
}

static void test_a_filled_volume_is_left_alone(void **state) {
    (void) state;
    assert_int_equal(mkdir(in_dir("root"), 0755), 0);
    assert_int_equal(mkdir(in_dir("root/data"), 0755), 0);
    make_file("root/data/file", "image", 0644);
    auto_fd int root = open(in_dir("root"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    char volume[128];
    snprintf(volume, sizeof volume, "%s/v", dir);
    assert_int_equal(volumes_make(volume, "app", root, "/data", NULL), 0);
    make_file("v/_data/file", "mine", 0644);
    assert_int_equal(volumes_make(volume, "app", root, "/data", NULL), 0);
    auto_free char *data = NULL;
    assert_int_equal(fd_read_file(AT_FDCWD, in_dir("v/_data/file"), 64, &data, NULL), 0);
    assert_string_equal(data, "mine");
}

static void test_list_and_remove(void **state) {
    (void) state;
    char path[128];
    struct volumes_info *v = NULL;
    size_t n = 0;
    assert_int_equal(mkdir(in_dir("vs"), 0711), 0);
    snprintf(path, sizeof path, "%s/vs/shop_data", dir);
    assert_int_equal(volumes_make(path, "shop", -1, "/", NULL), 0);
    assert_int_equal(mkdir(in_dir("vs/no-volume"), 0700), 0);
    char vs[128];
    snprintf(vs, sizeof vs, "%s/vs", dir);
    assert_int_equal(volumes_list(vs, &v, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(v[0].name, "shop_data");
    assert_string_equal(v[0].app, "shop");
    volumes_infos_free(v, n);
    struct err err = {0};
    assert_int_equal(volumes_remove(vs, "../vs", &err), -EINVAL);
    assert_int_equal(volumes_remove(vs, "nothing", &err), -ENOENT);
    assert_string_equal(err.text, "there is no volume nothing");
    assert_int_equal(volumes_remove(vs, "shop_data", &err), 0);
    assert_int_equal(volumes_remove(vs, "shop_data", &err), -ENOENT);
}

static void test_holder_of_a_port_is_named(void **state) {
    (void) state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    auto_fd int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *) &a, sizeof a), 0);
    assert_int_equal(listen(s, 1), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *) &a, &len), 0);
    char want[PORTS_HOLDER_MAX], got[PORTS_HOLDER_MAX];
    snprintf(want, sizeof want, "(pid %d)", (int) getpid());
    portholder_find(IPPROTO_TCP, "127.0.0.1", ntohs(a.sin_port), got);
    assert_true(str_ends(got, want));
    portholder_find(IPPROTO_UDP, "", ntohs(a.sin_port), got);
    assert_string_equal(got, "");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_names_cannot_leave_the_folder), T(test_copy_never_follows_a_symlink_out),
        T(test_a_filled_volume_is_left_alone), T(test_list_and_remove),
        T(test_holder_of_a_port_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
