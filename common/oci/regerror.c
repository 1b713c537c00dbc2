/* Registry error documents from the table of codes. Thread: any. */
#include "common/oci/regerror.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *code;
    int status;
    const char *message;
} table[] = {
#define X(code, status, msg) {#code, status, msg},
    REGISTRY_ERRORS(X)
#undef X
};

const char *regerror_code(enum regerror e) {
    return table[e].code;
}

int regerror_status(enum regerror e) {
    return table[e].status;
}

const char *regerror_message(enum regerror e) {
    return table[e].message;
}

enum regerror regerror_by_code(const char *code) {
    for (unsigned i = 0; code && i < REGERR_COUNT; i++) {
        if (strcmp(table[i].code, code) == 0) return (enum regerror)i;
    }
    return REGERR_UNKNOWN;
}

/* Length of the well-formed UTF-8 sequence at s (Unicode table 3-7), or 0. */
static size_t utf8_len(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (n == 0) return 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

/* Escapes s into at most room bytes, whole characters only; returns the bytes written (no NUL). */
static size_t escape(char *out, size_t room, const char *s) {
    size_t at = 0;
    while (*s) {
        char one[8];
        size_t take = utf8_len((const unsigned char *)s), n = take;
        unsigned char c = (unsigned char)*s;
        if (take == 0) {
            take = n = 1;
            one[0] = '?';
        } else if (c < 0x20 || c == 0x7f) {
            n = (size_t)snprintf(one, sizeof(one), "\\u%04x", c);
        } else if (c == '"' || c == '\\') {
            one[0] = '\\';
            one[1] = *s;
            n = 2;
        } else {
            memcpy(one, s, take);
        }
        if (n > room - at) break;
        memcpy(out + at, one, n);
        at += n;
        s += take;
    }
    return at;
}

size_t regerror_document(enum regerror e, const char *message, const char *detail, char *buf, size_t cap) {
    static const char end[] = "\"}]}", between[] = "\",\"detail\":\"";
    assert(cap >= 256);
    size_t at = (size_t)snprintf(buf, cap, "{\"errors\":[{\"code\":\"%s\",\"message\":\"", regerror_code(e));
    at += escape(buf + at, cap - at - sizeof(end), message ? message : regerror_message(e));
    if (detail && cap - at > sizeof(end) + sizeof(between)) {
        memcpy(buf + at, between, sizeof(between) - 1);
        at += sizeof(between) - 1;
        at += escape(buf + at, cap - at - sizeof(end), detail);
    }
    memcpy(buf + at, end, sizeof(end));
    return at + sizeof(end) - 1;
}
