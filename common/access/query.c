/* Finds and decodes a parameter. Thread: any. */
#include "common/access/query.h"

#include <stdbool.h>
#include <string.h>

#include "common/core/hex.h"

/* Decodes the value up to '&'. False: malformed, too long, or holding a NUL. */
static bool param_decode(const char *v, char out[QUERY_PARAM_MAX]) {
    size_t n = 0;
    for (; *v && *v != '&'; v++) {
        int c = (unsigned char)*v;
        if (c == '%') {
            int hi = hex_any(v[1]), lo = hi < 0 ? -1 : hex_any(v[2]);
            if (lo < 0) return false;
            c = hi * 16 + lo;
            v += 2;
        }
        if (c == 0 || n == QUERY_PARAM_MAX - 1) return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

int query_param(const char *target, const char *name, char out[QUERY_PARAM_MAX]) {
    const char *q = strchr(target, '?');
    size_t len = strlen(name);
    while (q) {
        q++;
        if (strncmp(q, name, len) == 0 && q[len] == '=') return param_decode(q + len + 1, out) ? 1 : -1;
        q = strchr(q, '&');
    }
    return 0;
}
