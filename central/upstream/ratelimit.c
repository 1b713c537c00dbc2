/* A registry's own limit on pulls. Thread: the fetch loop. */
#include "central/upstream/ratelimit.h"

#include <ctype.h>
#include <string.h>

#define WINDOW_DEFAULT_S 21600
#define WINDOW_MAX_S 86400
#define TRIAL_MS 5000

static bool number(const char **p, int64_t *out) {
    if (!isdigit((unsigned char)**p)) return false;
    int64_t n = 0;
    for (; isdigit((unsigned char)**p); (*p)++) {
        if (n > 1000000000000LL) return false;
        n = n * 10 + (**p - '0');
    }
    *out = n;
    return true;
}

bool ratelimit_parse(const char *value, int64_t *count, int64_t *window_s) {
    const char *p = value + strspn(value, " ");
    *window_s = 0;
    if (!number(&p, count)) return false;
    while (*p) {
        p += strspn(p, "; ");
        if (p[0] == 'w' && p[1] == '=') {
            p += 2;
            if (!number(&p, window_s)) return false;
        } else {
            p += strcspn(p, ";"); /* parameters of a later day */
        }
    }
    if (*window_s > WINDOW_MAX_S) *window_s = WINDOW_MAX_S;
    return true;
}

void ratelimit_seen(struct ratelimit *r, const char *limit, const char *remaining, int64_t now_ms) {
    int64_t n, window;
    if (limit && ratelimit_parse(limit, &n, &window)) {
        r->limit = n;
        if (window) r->window_s = window;
    }
    if (!remaining || !ratelimit_parse(remaining, &n, &window)) return;
    if (window) r->window_s = window;
    if (!r->known || n > r->remaining) r->began_ms = now_ms; /* more than before: another window */
    r->known = true;
    r->remaining = n;
    if (n > 0) r->not_until_ms = 0;
}

void ratelimit_refused(struct ratelimit *r, int64_t retry_after_s, int64_t now_ms) {
    int64_t until = now_ms + retry_after_s * 1000;
    if (retry_after_s > 0 && until > r->not_until_ms) r->not_until_ms = until;
}

void ratelimit_asks(struct ratelimit *r, int64_t now_ms) {
    if (r->not_until_ms) r->not_until_ms = now_ms + TRIAL_MS;
}

void ratelimit_granted(struct ratelimit *r) {
    r->not_until_ms = 0;
}

int64_t ratelimit_wait_s(const struct ratelimit *r, int64_t now_ms) {
    /* When to come again, in its own words, is known better than when a window may end that slides. */
    int64_t until = r->not_until_ms;
    if (!until && r->known && r->remaining == 0)
        until = r->began_ms + (r->window_s ? r->window_s : WINDOW_DEFAULT_S) * 1000;
    return until > now_ms ? (until - now_ms + 999) / 1000 : 0;
}
