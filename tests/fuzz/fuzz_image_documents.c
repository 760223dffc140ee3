// SPDX-License-Identifier: Apache-2.0
/* The JSON documents of images, names and store references. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/image/config.h"
#include "runtime/image/manifest.h"

static void fuzz_reference(const uint8_t *data, size_t n) {
    auto_free char *text = mem_strndup((const char *) data, n);
    auto_free char *full = NULL;
    char hex[IMAGE_HEX_MAX] = "";
    if (text && image_name_parse(text, &full, hex, NULL) == 0) {
        auto_free char *again = NULL; /* the full name is its own full name */
        ensure(image_name_parse(full, &again, NULL, NULL) == 0 && strcmp(full, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct image_manifest m = {0};
    struct image_index_doc d = {0};
    struct image_config_doc c = {0};
    if (n == 0 || n > 1 << 16) return 0;
    const char *text = (const char *) data + 1;
    if (data[0] % 4 == 0 && image__manifest_parse(text, n - 1, "fuzz", &m, NULL) == 0)
        image__manifest_fini(&m);
    if (data[0] % 4 == 1 && image__index_parse(text, n - 1, "fuzz", &d, NULL) == 0)
        image__index_doc_fini(&d);
    if (data[0] % 4 == 2 && image__config_parse(text, n - 1, "fuzz", &c, NULL) == 0)
        image__config_doc_fini(&c);
    if (data[0] % 4 == 3) fuzz_reference(data + 1, n - 1);
    return 0;
}
