// SPDX-License-Identifier: Apache-2.0
/* runtime/net/nft.h - one long-lived libnftables context. Its netlink socket owns `orlop_hold`: the
 * table is changed by this context only and goes when it is freed.
 *
 * Thread   [loop]
 */
#ifndef ORLOP_NET_NFT_H
#define ORLOP_NET_NFT_H

#include "runtime/base/err.h"

struct nft_ctx;

must_use int nft_open(struct nft_ctx **ret, struct err *err);
void nft_close(struct nft_ctx *ctx);

/* Run TEXT as one transaction. -EPERM: the owned table is another's; -EIO with nft's own words
 * else. */
must_use int nft_run(struct nft_ctx *ctx, const char *text, struct err *err);

/* The kernel's nf_tables modules (kernel/modprobe loads nothing for netlink when the program is
 * missing). Does nothing without /sbin/modprobe; what fails shows itself at the first rule. */
void nft_load_modules(void);

#endif
