/* Tokens to join by, and members' URIs, from anyone: what is taken can be written again and is then the same; what is
 * refused says why. */
#include "common/identity/member.h"
#include "common/identity/join_token.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_token(const char *text) {
    struct join_token t, back;
    struct error err = {0};
    char again[TOKEN_TEXT_MAX];
    if (token_parse(&t, text, &err) < 0) {
        assert(err.msg[0] && err.hint[0]);
        return;
    }
    assert(token_format(&t, again, &err) == 0 && token_parse(&back, again, &err) == 0);
    assert(memcmp(&t, &back, sizeof(t)) == 0);
}

/* The same bytes under a checksum that fits, so that what lies behind it is reached. */
static void try_payload(const uint8_t *data, size_t size) {
    struct join_token t = {.expires_s = 1, .n_roots = 1, .n_addresses = 1};
    char text[TOKEN_TEXT_MAX];
    struct error err = {0};
    size_t n = size < sizeof(t.addresses[0]) - 1 ? size : sizeof(t.addresses[0]) - 1;
    if (n) memcpy(t.addresses[0], data, n);
    if (token_format(&t, text, &err) == 0) try_token(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    struct member m, back;
    char uri[MEMBER_URI_MAX];
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    try_token(text);
    try_payload(data, size);
    if (member_from_uri(&m, text, size)) {
        member_uri(&m, uri);
        assert(member_from_uri(&back, uri, strlen(uri)) && memcmp(&m, &back, sizeof(m)) == 0);
    }
    free(text);
    return 0;
}
