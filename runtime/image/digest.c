// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "runtime/base/str.h"

int image__hash_init(struct image_hash *h) {
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx) return -ENOMEM;
    if (EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1) return 0;
    image__hash_fini(h);
    return -ENOMEM;
}

void image__hash_fini(struct image_hash *h) {
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
}

int image__hash_add(struct image_hash *h, const void *p, size_t n) {
    return EVP_DigestUpdate(h->ctx, p, n) == 1 ? 0 : -EIO;
}

int image__hash_end(struct image_hash *h, char ret_hex[static IMAGE_HEX_MAX]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int ok = EVP_DigestFinal_ex(h->ctx, md, &n);
    image__hash_fini(h);
    if (ok != 1 || n * 2 != IMAGE_HEX_LEN) return -EIO;
    for (unsigned i = 0; i < n; i++) {
        ret_hex[2 * i] = digits[md[i] >> 4];
        ret_hex[2 * i + 1] = digits[md[i] & 15];
    }
    ret_hex[IMAGE_HEX_LEN] = 0;
    return 0;
}

int image__hash_bytes(const void *p, size_t n, char ret_hex[static IMAGE_HEX_MAX]) {
    struct image_hash h = {0};
    int r = image__hash_init(&h);
    if (r == 0) r = image__hash_add(&h, p, n);
    if (r == 0) return image__hash_end(&h, ret_hex);
    image__hash_fini(&h);
    return r;
}
