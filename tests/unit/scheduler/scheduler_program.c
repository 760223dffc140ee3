// SPDX-License-Identifier: Apache-2.0
#include "scheduler/main.h"

int main(int argc, char **argv) {
    return scheduler_main(argc, argv);
}
