// SPDX-License-Identifier: Apache-2.0
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/base/words.h"

/* --- lines of passwd and group --- */

struct lines {
    int fd;
    size_t at, end, total;
    char buf[USER_LINE_MAX];
    char line[USER_LINE_MAX];
};

static int next_char(struct lines *l) {
    if (l->at == l->end) {
        ssize_t n = l->total < USER_FILE_MAX ? read(l->fd, l->buf, sizeof l->buf) : 0;
        if (n <= 0) return -1;
        l->at = 0;
        l->end = (size_t) n;
        l->total += l->end;
    }
    return (unsigned char) l->buf[l->at++];
}

/* The next line that fits and has no NUL in it, without its newline; NULL = the end. */
static char *next_line(struct lines *l) {
    for (;;) {
        size_t n = 0;
        bool bad = false;
        int c;
        while ((c = next_char(l)) >= 0 && c != '\n') {
            if (c == 0 || n == sizeof l->line - 1) bad = true;
            if (!bad) l->line[n++] = (char) c;
        }
        if (c < 0 && n == 0 && !bad) return NULL;
        l->line[n] = 0;
        if (!bad) return l->line;
    }
}

/* Cut LINE at its colons into exactly N fields. */
static bool fields(char *line, char **f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        f[i] = line;
        line = strchr(line, ':');
        if (!line) return i == n - 1;
        *line++ = 0;
    }
    return false;
}

/* An image's file may be a FIFO or a device: never wait for it, never read what is no file. */
static int open_lines(int root, const char *path, struct lines *l) {
    l->at = l->end = l->total = 0;
    l->fd = sys_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (l->fd == -ENOENT || l->fd == -ENOTDIR) return 0; /* an image without: ids are numbers */
    struct stat st;
    if (l->fd >= 0 && (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        fd_close(&l->fd);
        return -EINVAL;
    }
    return l->fd < 0 ? l->fd : 1;
}

/* --- lookup --- */

static void copy_home(const char *from, char to[static USER_HOME_MAX]) {
    bool usable = *from == '/' && strlen(from) < USER_HOME_MAX;
    for (const char *c = from; usable && *c; c++)
        if ((unsigned char) *c < ' ') usable = false;
    memcpy(to, usable ? from : "/", usable ? strlen(from) + 1 : 2);
}

/* The passwd entry of WHO (a name, or an id): 1 = found, its name in NAME. */
static int find_user(struct lines *l, const char *who, struct user_identity *id,
                     char name[static USER_NAME_MAX]) {
    bool numeric = words_is_number(who);
    for (char *line; (line = next_line(l));) {
        char *f[7];
        uint32_t uid, gid;
        if (!fields(line, f, 7) || !words_is_user_name(f[0]) || strlen(f[0]) >= USER_NAME_MAX)
            continue;
        if (words_uid(f[2], &uid) < 0 || words_uid(f[3], &gid) < 0) continue;
        if (numeric ? uid != id->uid : !str_eq(f[0], who)) continue;
        id->uid = uid;
        id->gid = gid;
        copy_home(f[5], id->home);
        memcpy(name, f[0], strlen(f[0]) + 1);
        return 1;
    }
    return 0;
}

static bool has_member(const char *list, const char *name) {
    size_t n = strlen(name);
    while (*list) {
        size_t len = strcspn(list, ",");
        if (len == n && memcmp(list, name, n) == 0) return true;
        list += len + (list[len] == ',');
    }
    return false;
}

/* WANTED "" : the supplementary groups of NAME; else the gid of the group WANTED: 1 = found. */
static int find_groups(struct lines *l, const char *wanted, const char *name,
                       struct user_identity *id) {
    for (char *line; (line = next_line(l));) {
        char *f[4];
        uint32_t gid;
        if (!fields(line, f, 4) || !words_is_user_name(f[0]) || words_uid(f[2], &gid) < 0) continue;
        if (*wanted && str_eq(f[0], wanted)) {
            id->gid = gid;
            return 1;
        }
        if (*wanted || !*name || gid == id->gid || !has_member(f[3], name)) continue;
        if (id->n_groups == USER_GROUPS_MAX) return -E2BIG;
        id->groups[id->n_groups++] = gid;
    }
    return 0;
}

static int lookup_user(int root, struct lines *l, const char *who, struct user_identity *id,
                       char name[static USER_NAME_MAX], struct err *err) {
    int r = words_is_number(who) ? words_uid(who, &id->uid) : 0;
    if (r < 0) return r;
    r = open_lines(root, "/etc/passwd", l);
    if (r < 0) return err_set(err, r, "/etc/passwd of the image");
    if (r > 0) {
        r = find_user(l, who, id, name);
        fd_close(&l->fd);
    }
    if (r == 0 && !words_is_number(who))
        return err_say(err, -EINVAL, "user %s is not in the image's /etc/passwd", who);
    return 0;
}

static int lookup_group(int root, struct lines *l, const char *group, const char *name,
                        struct user_identity *id, struct err *err) {
    if (words_is_number(group)) return words_uid(group, &id->gid);
    int r = open_lines(root, "/etc/group", l);
    if (r < 0) return err_set(err, r, "/etc/group of the image");
    if (r > 0) {
        r = find_groups(l, group, name, id);
        fd_close(&l->fd);
    }
    if (r == -E2BIG)
        return err_say(err, r, "user %s is in more than %d groups", name, USER_GROUPS_MAX);
    if (r == 0 && *group)
        return err_say(err, -EINVAL, "group %s is not in the image's /etc/group", group);
    return r < 0 ? r : 0;
}

int user_lookup(int root, const char *user, struct user_identity *ret, struct err *err) {
    struct words_user w;
    int r = words_user(user, &w, err);
    if (r < 0) return r;
    struct lines l;
    char name[USER_NAME_MAX] = "";
    *ret = (struct user_identity){.home = "/"};
    r = lookup_user(root, &l, *w.user ? w.user : "0", ret, name, err);
    if (r < 0) return r;
    return lookup_group(root, &l, w.group, name, ret, err);
}
