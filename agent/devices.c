// SPDX-License-Identifier: Apache-2.0
#include "agent/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "runtime/base/fd.h"
#include "runtime/base/sys.h"

static int look_at(const char *source, struct stat *st, struct err *err) {
    /* No magic link: /proc/self/fd/3 would be a descriptor of ours. */
    auto_fd int fd = sys_openat2(AT_FDCWD, source, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    if (fd < 0) return err_set(err, fd, "device %s on this node", source);
    if (fstat(fd, st) < 0) return err_set(err, -errno, "device %s on this node", source);
    if (S_ISDIR(st->st_mode))
        return err_say(err, -ENODEV, "%s is a directory: name its devices one by one", source);
    if (!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode))
        return err_say(err, -ENODEV, "%s is no device", source);
    return 0;
}

static int add_node(const Orlop__Device *d, struct prepared *out, struct cgroup_device *ret_rule,
                    struct err *err) {
    struct stat st;
    int r = look_at(d->source, &st, err);
    if (r < 0) return r;
    Orlop__SandboxDevice *n = arena_alloc(&out->arena, sizeof *n);
    if (!n) return err_set(err, -ENOMEM, "devices");
    orlop__sandbox_device__init(n);
    n->target = d->target;
    n->block = S_ISBLK(st.st_mode);
    n->major = major(st.st_rdev);
    n->minor = minor(st.st_rdev);
    n->mode = st.st_mode & 0777;
    n->uid = st.st_uid;
    n->gid = st.st_gid;
    out->spec.devices[out->spec.n_devices++] = n;
    *ret_rule =
        (struct cgroup_device){n->block ? 'b' : 'c', (int) n->major, (int) n->minor, d->access};
    return 0;
}

int devices_add(const Orlop__Service *s, struct prepared *out, struct cgroup_device **ret_rules,
                size_t *ret_n, struct err *err) {
    static struct cgroup_device any = {'a', -1, -1, "rwm"};
    size_t n = s->n_devices + s->n_device_rules;
    if (s->privileged) {
        *ret_rules = &any;
        *ret_n = 1;
    }
    if (n == 0 || s->privileged) return 0; /* the keeper makes all nodes that there are */
    if (n > CGROUP_DEVICES_MAX)
        return err_say(err, -E2BIG, "more than %d devices", CGROUP_DEVICES_MAX);
    struct cgroup_device *rules = arena_alloc(&out->arena, n * sizeof *rules);
    out->spec.devices = arena_alloc(&out->arena, n * sizeof *out->spec.devices);
    if (!rules || !out->spec.devices) return err_set(err, -ENOMEM, "devices");
    for (size_t i = 0; i < s->n_devices; i++) {
        int r = add_node(s->devices[i], out, &rules[i], err);
        if (r < 0) return r;
    }
    for (size_t i = 0; i < s->n_device_rules; i++) {
        const Orlop__DeviceRule *r = s->device_rules[i];
        rules[s->n_devices + i] =
            (struct cgroup_device){*r->type, (int) r->major, (int) r->minor, r->access};
    }
    *ret_rules = rules;
    *ret_n = n;
    return 0;
}
