// SPDX-License-Identifier: Apache-2.0
#include "proxy.h"

#include <stdlib.h>

int proxy_main(const struct proxy_config *cfg) {
    (void) cfg;
    return EXIT_FAILURE;
}
