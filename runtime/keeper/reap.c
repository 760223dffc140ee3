// SPDX-License-Identifier: Apache-2.0
#include "reap.h"

#include <errno.h>
#include <sys/ioctl.h>

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

struct pidfd_exit_info { /* struct pidfd_info of kernel 6.15, first published size */
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};
#define PIDFD_EXIT_INFO _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, sizeof(struct pidfd_exit_info))
#define PIDFD_EXIT_MASK UINT64_C(8)

bool reap_ask(int pidfd, int *ret_wait_status) {
    struct pidfd_exit_info info = {.mask = PIDFD_EXIT_MASK};
    if (ioctl(pidfd, PIDFD_EXIT_INFO, &info) < 0 || !(info.mask & PIDFD_EXIT_MASK)) return false;
    *ret_wait_status = info.exit_code;
    return true;
}

void reap_plain(pid_t pid) {
    siginfo_t s;
    while (waitid(P_PID, (id_t) pid, &s, WEXITED | WNOHANG) < 0 && errno == EINTR) continue;
}
