// SPDX-License-Identifier: Apache-2.0
/* Bytes as what the kernel says about links, addresses, neighbours, nftables and connections. */
#include <stdint.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/net/conntrack.h"
#include "runtime/net/netlink.h"
#include "runtime/net/watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct watch w = {.own_port = 7};
    struct watch_events ev = {0};
    auto_free char *copy = mem_alloc(size + 1); /* aligned, and its end is watched */
    if (!copy || size > 65536) return 0;
    memcpy(copy, data, size);
    int left = (int) size;
    for (const struct nlmsghdr *h = (const void *) copy; netlink_ok(h, left);
         h = mnl_nlmsg_next(h, &left)) {
        struct netlink_link link;
        struct netlink_address address;
        struct conntrack_entry entry;
        if (netlink_parse_link(h, &link) == 0) ensure(strlen(link.name) < sizeof link.name);
        if (netlink_parse_address(h, &address) == 0) ensure(address.prefix_len <= 32);
        (void) netlink_parse_neighbour(h, &address);
        (void) conntrack__parse(h, &entry);
        watch__nft_message(&w, h, &ev);
        watch__rt_message(h, &ev);
    }
    return 0;
}
