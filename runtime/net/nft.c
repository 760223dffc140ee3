// SPDX-License-Identifier: Apache-2.0
#include "nft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/str.h"

/* libnftables opens its socket without CLOEXEC. A child that inherited it would own orlop_hold on
 * after our death, and the next agent would find the table taken. */
static int close_on_exec(struct err *err) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return err_set(err, -errno, "list the open descriptors");
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        uint32_t fd;
        int protocol = -1, domain = -1;
        socklen_t n = sizeof protocol;
        if (str_to_u32(e->d_name, INT_MAX, &fd) < 0) continue;
        if (getsockopt((int) fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) < 0) continue;
        if (getsockopt((int) fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0) continue;
        if (domain != AF_NETLINK || protocol != NETLINK_NETFILTER) continue;
        if (fcntl((int) fd, F_SETFD, FD_CLOEXEC) < 0) r = err_set(err, -errno, "close on exec");
    }
    closedir(dir);
    return r;
}

int nft_open(struct nft_ctx **ret, struct err *err) {
    struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!ctx) return err_set(err, -ENOMEM, "nftables context");
    if (nft_ctx_buffer_output(ctx) || nft_ctx_buffer_error(ctx)) {
        nft_ctx_free(ctx);
        return err_set(err, -ENOMEM, "nftables context");
    }
    int r = close_on_exec(err);
    if (r < 0) {
        nft_ctx_free(ctx);
        return r;
    }
    *ret = ctx;
    return 0;
}

void nft_close(struct nft_ctx *ctx) {
    if (ctx) nft_ctx_free(ctx);
}

int nft_run(struct nft_ctx *ctx, const char *text, struct err *err) {
    if (nft_run_cmd_from_buffer(ctx, text) == 0) return 0;
    const char *said = nft_ctx_get_error_buffer(ctx);
    int code = strstr(said, err_text(EPERM)) ? -EPERM : -EIO;
    size_t line = strcspn(said, "\n");
    return err_say(err, code, "nftables: %.*s", (int) (line < 200 ? line : 200), said);
}

void nft_load_modules(void) {
    static const char *const argv[] = {"modprobe",
                                       "-a",
                                       "-q",
                                       "nf_tables",
                                       "nf_conntrack",
                                       "nf_nat",
                                       "nft_ct",
                                       "nf_conntrack_netlink",
                                       "nft_chain_nat",
                                       "nft_nat",
                                       "nft_masq",
                                       "nft_numgen",
                                       "nft_fib_inet",
                                       "veth",
                                       "bridge",
                                       "nft_reject_inet",
                                       NULL};
    static const char program[] = "/sbin/modprobe";
    char *const env[] = {NULL};
    pid_t pid;
    if (access(program, X_OK) < 0) return;
    char *copy[sizeof argv / sizeof argv[0]];
    memcpy(copy, argv, sizeof argv); /* posix_spawn takes char *const[] and changes nothing */
    if (posix_spawn(&pid, program, NULL, NULL, copy, env) != 0) return;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
