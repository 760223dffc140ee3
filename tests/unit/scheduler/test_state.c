// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/state/index.h"

static void test_index_set_and_delete_agree_with_a_plain_array(void **state) {
    (void) state;
    enum { KEYS = 257, ROUNDS = 20000 };
    static char values[KEYS];
    void *model[KEYS] = {0};
    struct index x = {0};
    uint64_t random = 1;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t k = (random >> 33) % KEYS;
        if (random >> 63) {
            assert_int_equal(index_set(&x, k * 1024, &values[k]), 0);
            model[k] = &values[k];
        } else {
            assert_ptr_equal(index_del(&x, k * 1024), model[k]);
            model[k] = NULL;
        }
    }
    size_t n = 0;
    for (size_t k = 0; k < KEYS; k++) {
        assert_ptr_equal(index_get(&x, k * 1024), model[k]);
        n += model[k] != NULL;
    }
    assert_int_equal(x.n, n);
    index_fini(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_set_and_delete_agree_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
