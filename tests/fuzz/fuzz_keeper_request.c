// SPDX-License-Identifier: Apache-2.0
/* Whatever comes over keeper.sock and proxy.sock: accepted within the budget, or refused. */
#include <stddef.h>
#include <stdint.h>

#include "runtime/keeper/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct budget b;
    if (!b.memory && budget_init(&b) < 0) return 0;
    Orlop__KeeperRequest *req;
    Orlop__ProxyWant *want;
    struct err err = {0};
    int r = request_decode(&b, data, size, size % 4, &req, &err);
    ensure(r == 0 || err.text[0]);
    ensure(r != 0 || (req && req->id != 0));
    budget_reset(&b);
    r = proxy_want_decode(&b, data, size, &want, &err);
    ensure(r != 0 || (want && want->id != 0));
    budget_reset(&b);
    return 0;
}
