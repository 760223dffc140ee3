// SPDX-License-Identifier: Apache-2.0
/* Every byte of the log's files cut off, every bit flipped: the same entries, or a sentence that
 * names the file; never a crash, and never other entries than those that were written.
 *
 * The whole directory goes through verify.c for each; raft itself opens a seeded sample (SEED=N,
 * SAMPLES=N for more). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/raft/segment.h"
#include "scheduler/raft/store.h"
#include "scheduler/raft/term.h"
#include "scheduler/raft/verify.h"
#include "tests/lib/damage.h"

enum { ENTRIES_MAX = 6000, SAMPLES = 16 };

/* A state machine whose value depends on every entry and on their order. */
struct machine {
    uv_loop_t loop;
    struct store *store;
    uint64_t value, count;
    int acked, failed;
    bool leading;
};

static uint64_t value_after[ENTRIES_MAX + 1];

static uint64_t next_value(uint64_t value, const uint8_t *data, size_t len) {
    return value * 31 + str_hash(data, len);
}

static void apply(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct machine *m = ctx;
    (void) idx;
    m->value = next_value(m->value, data, len);
    m->count++;
}

static int snapshot(void *ctx, uint8_t **ret, size_t *ret_len) {
    struct machine *m = ctx;
    uint64_t words[2] = {m->value, m->count};
    *ret = mem_dup(words, sizeof words);
    *ret_len = sizeof words;
    return *ret ? 0 : -ENOMEM;
}

static int restore(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct machine *m = ctx;
    uint64_t words[2];
    (void) idx;
    if (len != sizeof words) return -EBADMSG;
    memcpy(words, data, sizeof words);
    m->value = words[0];
    m->count = words[1];
    return 0;
}

static void leading(void *ctx, bool is, uint64_t term) {
    (void) term;
    ((struct machine *) ctx)->leading = is;
}

static const struct store_ops ops = {apply, snapshot, restore, leading};

static void on_done(void *ctx, int status, uint64_t idx) {
    struct machine *m = ctx;
    (void) idx;
    if (status == 0)
        m->acked++;
    else
        m->failed++;
}

static size_t entry_of(int i, uint8_t data[static 256]) {
    size_t len = 8 + (size_t) i * 37 % 200;
    for (size_t k = 0; k < len; k++) data[k] = (uint8_t) ((size_t) i * 7 + k * 3 + 1);
    return len;
}

static char dir[64];
static struct damage damage;
static int written;

static int open_machine(struct machine *m, struct err *err) {
    *m = (struct machine){0};
    uv_loop_init(&m->loop);
    int r = store_open(&m->loop, dir, &ops, m, &m->store, err);
    while (r == 0 && !m->leading) uv_run(&m->loop, UV_RUN_ONCE);
    return r;
}

/* In a process of its own, which is killed: what was acknowledged lies in open segments. */
static void write_and_die(int n) {
    struct machine m;
    if (open_machine(&m, NULL) < 0) _exit(1);
    uint8_t data[256];
    for (int i = 0; i < n; i++) {
        size_t len = entry_of(i, data);
        if (store_propose(m.store, data, len, on_done, &m) < 0) _exit(2);
        bool wait = n < 1000 || i % 64 == 63 || i + 1 == n;
        while (wait && m.acked + m.failed <= i) uv_run(&m.loop, UV_RUN_ONCE);
    }
    /* a snapshot is written beside the loop: until its file has its name, and the next segments are
     * there */
    for (int i = 0; i < 200; i++) {
        uv_run(&m.loop, UV_RUN_NOWAIT);
        (void) poll(NULL, 0, 1);
    }
    raise(SIGKILL);
}

static void build(int n) {
    uint8_t data[256];
    written = n;
    for (int i = 0; i < n; i++)
        value_after[i + 1] = next_value(value_after[i], data, entry_of(i, data));
    damage_temp_dir(dir);
    pid_t pid = fork();
    if (pid == 0) write_and_die(n);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static int set_up_short(void **state) {
    (void) state;
    build(14);
    auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 1; i <= 3; i++) { /* as long as it takes: each is read at each step */
        char name[24];
        snprintf(name, sizeof name, "open-%d", i);
        auto_fd int open_fd = openat(fd, name, O_WRONLY | O_CLOEXEC);
        assert_int_equal(ftruncate(open_fd, 8192), 0);
    }
    damage_take(&damage, dir);
    return 0;
}

static int set_up_long(void **state) {
    (void) state;
    build(STORE_SNAPSHOT_ENTRIES * 2 + 300);
    damage_take(&damage, dir);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    damage_free(&damage);
    return fd_remove_tree(AT_FDCWD, dir);
}

static bool is_said(const struct strv *said, const char *file) {
    for (size_t i = 0; i < said->n; i++)
        if (strstr(said->v[i], file)) return true;
    return false;
}

static int verify(struct strv *said, struct err *err) {
    struct term t;
    auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = term_verify(fd, said, &t, err);
    return r < 0 ? r : verify_log(fd, said, err);
}

static void expect_named(const char *file, const char *what, size_t where, bool may_be_same) {
    struct strv said = {0};
    struct err err = {0};
    int r = verify(&said, &err);
    if (r < 0 && (r != -EBADMSG || !strstr(err.text, file)))
        fail_msg("%s %s %zu: refused with %d, %s", file, what, where, r, err.text);
    if (r == 0 && !may_be_same && !is_said(&said, file))
        fail_msg("%s %s %zu: nothing is said", file, what, where);
    strv_fini(&said);
}

static void test_each_cut_of_an_open_segment_is_named(void **state) {
    (void) state;
    const struct damaged_file *f = damage_file(&damage, "open-1");
    for (size_t size = 0; size < f->used + 32; size++) {
        damage_cut(&damage, "open-1", size);
        expect_named("open-1", "cut at", size, size >= f->used + 8);
        damage_undo(&damage);
    }
}

static void test_each_flip_in_an_open_segment_is_named(void **state) {
    (void) state;
    const struct damaged_file *f = damage_file(&damage, "open-1");
    for (size_t bit = 0; bit < (f->used + 64) * 8; bit++) {
        damage_flip(&damage, "open-1", bit);
        expect_named("open-1", "flipped at bit", bit, false);
        damage_undo(&damage);
    }
}

/* Of the last write some sectors have not arrived: it is undone, and all before it is there. */
static void test_a_torn_last_write_is_undone(void **state) {
    (void) state;
    const struct damaged_file *f = damage_file(&damage, "open-1");
    struct segment whole;
    segment_scan(f->data, f->size, &whole);
    assert_int_equal(whole.end, SEGMENT_WHOLE);
    assert_int_equal(whole.entries, written);
    struct machine m;
    int torn = 0;
    for (size_t sector = 0; sector < f->used; sector += 512) {
        damage_zero(&damage, "open-1", sector, f->used);
        auto_free char *data = NULL;
        size_t size;
        struct segment s;
        assert_int_equal(fd_read_file(damage.dirfd, "open-1", 1 << 20, &data, &size), 0);
        segment_scan((const uint8_t *) data, size, &s);
        assert_true(s.end == SEGMENT_TORN || s.end == SEGMENT_WHOLE);
        torn += s.end == SEGMENT_TORN;
        expect_named("open-1", "torn at", sector, s.end == SEGMENT_WHOLE);
        pid_t pid = fork();
        if (pid == 0) {
            bool right = open_machine(&m, NULL) == 0 && m.count == s.entries &&
                         m.value == value_after[s.entries];
            _exit(right ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        damage_undo(&damage);
    }
    assert_true(torn > 0);
}

static void test_each_cut_and_flip_of_small_files_is_named(void **state) {
    (void) state;
    static const char *const names[] = {"metadata1", "orlop-term"};
    for (size_t i = 0; i < array_len(names); i++) {
        const struct damaged_file *f = damage_file(&damage, names[i]);
        for (size_t bit = 0; bit < f->size * 8; bit++) {
            damage_flip(&damage, names[i], bit);
            expect_named(names[i], "flipped at bit", bit, false);
            damage_undo(&damage);
        }
        for (size_t size = 0; size < f->size; size++) {
            damage_cut(&damage, names[i], size);
            expect_named(names[i], "cut at", size, false);
            damage_undo(&damage);
        }
    }
}

static uint64_t random_state;

static uint64_t random_below(uint64_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static int number_of(const char *name, int otherwise) {
    uint32_t v;
    const char *text = getenv(name);
    return text && str_to_u32(text, 1 << 30, &v) == 0 ? (int) v : otherwise;
}

/* In a process of its own: raft may crash, or never come back. Exit code: 0 all is there; 1 refused;
 * 2 some is there, in order; 3 something else is there. */
static int open_in_child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        struct machine m;
        struct err err = {0};
        alarm(60);
        if (open_machine(&m, &err) < 0) _exit(err.text[0] ? 1 : 4);
        if (m.count > (uint64_t) written || m.value != value_after[m.count]) _exit(3);
        _exit(m.count == (uint64_t) written ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Every other time the open segment that is in use: raft itself is at its worst there. */
static const struct damaged_file *pick(int i) {
    const struct damaged_file *f = &damage.files[random_below(damage.n)];
    for (size_t k = 0; i % 2 && k < damage.n; k++)
        if (str_starts(damage.files[k].name, "open-") && damage.files[k].used) f = &damage.files[k];
    return f;
}

static void hurt(const struct damaged_file *f, char what[static 80]) {
    size_t reach = f->used ? f->used + 64 : 64;
    if (reach > f->size) reach = f->size;
    size_t at = random_below(reach);
    if (random_below(3) == 0) {
        damage_cut(&damage, f->name, at);
        snprintf(what, 80, "%.40s cut at %zu", f->name, at);
    } else {
        uint64_t bit = at * 8 + random_below(8);
        damage_flip(&damage, f->name, bit);
        snprintf(what, 80, "%.40s flipped at bit %lu", f->name, (unsigned long) bit);
    }
}

/* Any file of a log with snapshots, closed and open segments; then raft opens it. */
static void test_raft_never_sees_damage(void **state) {
    (void) state;
    int seed = number_of("SEED", (int) getpid()), samples = number_of("SAMPLES", SAMPLES);
    int outcomes[5] = {0};
    random_state = (uint64_t) seed * 2654435761U + 1;
    printf("SEED=%d SAMPLES=%d\n", seed, samples);
    for (int i = 0; i < samples; i++) {
        char what[80];
        struct strv said = {0};
        const struct damaged_file *f = pick(i);
        uint64_t before = random_state;
        hurt(f, what);
        bool named = verify(&said, NULL) < 0 || said.n > 0;
        strv_fini(&said);
        damage_undo(&damage);
        random_state = before; /* the same again: verify has repaired what it could */
        hurt(f, what);
        int code = open_in_child();
        if (code > 2 || (code == 2 && !named)) fail_msg("%s: outcome %d", what, code);
        outcomes[code]++;
        damage_undo(&damage);
    }
    printf("the same %d, refused %d, a part %d\n", outcomes[0], outcomes[1], outcomes[2]);
}

#define SHORT(f) cmocka_unit_test_setup_teardown(f, set_up_short, tear_down)
#define LONG(f) cmocka_unit_test_setup_teardown(f, set_up_long, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        SHORT(test_each_cut_of_an_open_segment_is_named),
        SHORT(test_each_flip_in_an_open_segment_is_named),
        SHORT(test_a_torn_last_write_is_undone),
        SHORT(test_each_cut_and_flip_of_small_files_is_named),
        LONG(test_raft_never_sees_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
