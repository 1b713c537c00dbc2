/* WWW-Authenticate from a hostile registry: no crash, and what is taken is bounded printable text. */
#include "common/upstream/challenge.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *s, size_t cap) {
    if (strnlen(s, cap) >= cap) abort();
    for (; *s; s++) {
        if (*s < 0x20 || *s > 0x7e) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct challenge c = {0};
    challenge_add(&c, text);
    challenge_add(&c, text + strlen(text) / 2);
    if (c.bearer != (c.realm[0] != '\0')) abort();
    check(c.realm, sizeof(c.realm));
    check(c.service, sizeof(c.service));
    check(c.scope, sizeof(c.scope));
    free(text);
    return 0;
}
