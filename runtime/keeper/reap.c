// SPDX-License-Identifier: Apache-2.0
#include "reap.h"

#include <errno.h>

#include "runtime/base/clock.h"

static int wait_status_of(const siginfo_t *s) {
    if (s->si_code == CLD_EXITED) return (s->si_status & 0xff) << 8;
    return (s->si_status & 0x7f) | (s->si_code == CLD_DUMPED ? 0x80 : 0);
}

int reap_look(idtype_t type, id_t id, struct reaped *ret) {
    siginfo_t s = {0};
    while (waitid(type, id, &s, WEXITED | WNOHANG | WNOWAIT) < 0)
        if (errno != EINTR) return -errno;
    if (s.si_pid == 0) return 0;
    *ret = (struct reaped){.pid = s.si_pid, .wait_status = wait_status_of(&s)};
    return 1;
}

int reap_record(const struct records *r, const struct reaped *dead, struct record_exit *ret) {
    struct process_seen seen = process_see(dead->pid);
    struct record_exit rec = {.start_ticks = seen.start_ticks,
                              .time_unix_ns = clock_unix_ns(),
                              .pid = dead->pid,
                              .wait_status = dead->wait_status,
                              .known = 1,
                              .never_ran = seen.never_ran && WIFEXITED(dead->wait_status)};
    int e = records_add_exit(r, &rec);
    if (e < 0) return e;
    reap_plain(dead->pid);
    if (ret) *ret = rec;
    return 0;
}

void reap_plain(pid_t pid) {
    siginfo_t s;
    while (waitid(P_PID, (id_t) pid, &s, WEXITED | WNOHANG) < 0 && errno == EINTR) continue;
}
