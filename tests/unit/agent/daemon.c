// SPDX-License-Identifier: Apache-2.0
/* The agent alone, as an executable for the tests: `orlop agent` without the rest of orlop. */
#include "agent/main.h"

int main(int argc, char **argv) {
    return agent_main(argc, argv);
}
