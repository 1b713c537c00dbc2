/* A registry's own limit on pulls. Thread: the fetch loop. */
#include "common/upstream/ratelimit.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define DAY_S 86400
#define UNIX_TIME_MIN 1000000000LL /* a Reset of so much is a Unix time: as seconds it would be 31 years */
#define TRIAL_MS 5000

/* --- reading --- */

/* Digits only, and no more than fit; -1: not a number. */
static int64_t number(const char **p) {
    if (!isdigit((unsigned char)**p)) return -1;
    int64_t n = 0;
    for (; isdigit((unsigned char)**p); (*p)++) {
        if (n < 1000000000000LL) n = n * 10 + (**p - '0');
    }
    return n < 1000000000000LL ? n : -1;
}

static const char *skip_quoted(const char *p) {
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1]) p++;
    }
    return *p ? p + 1 : p;
}

static bool is_key_char(char c) {
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.' || c == '*';
}

/* The member that this key sets; NULL: none of ours. */
static int64_t *member_of(struct ratelimit_told *t, const char *key, size_t len) {
    static const struct {
        const char *name;
        size_t at;
    } keys[] = {
        {"limit", offsetof(struct ratelimit_told, limit)},         {"q", offsetof(struct ratelimit_told, limit)},
        {"remaining", offsetof(struct ratelimit_told, remaining)}, {"r", offsetof(struct ratelimit_told, remaining)},
        {"reset", offsetof(struct ratelimit_told, reset_s)},       {"t", offsetof(struct ratelimit_told, reset_s)},
        {"w", offsetof(struct ratelimit_told, window_s)},
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strlen(keys[i].name) == len && strncasecmp(keys[i].name, key, len) == 0)
            return (int64_t *)(void *)((char *)t + keys[i].at);
    }
    return NULL;
}

/* One word of a list: `"name"`, `100`, `key=value`. Returns what follows it. */
static const char *read_word(const char *p, struct ratelimit_told *t) {
    const char *key = p;
    while (is_key_char(*p))
        p++;
    size_t len = (size_t)(p - key);
    p += strspn(p, " \t");
    if (len == 0) return *p == '"' ? skip_quoted(p) : (*p ? p + 1 : p);
    if (*p != '=') return p;
    p += 1 + strspn(p + 1, " \t");
    int64_t *member = member_of(t, key, len);
    int64_t value = number(&p);
    if (member) *member = value;
    while (*p && !strchr(",;", *p))
        p = *p == '"' ? skip_quoted(p) : p + 1;
    return p;
}

static const struct ratelimit_told nothing = {-1, -1, -1, -1};

/* a is the one that will be felt first. */
static bool is_tighter(const struct ratelimit_told *a, const struct ratelimit_told *b) {
    if (a->remaining < 0 || b->remaining < 0) return b->remaining < 0;
    if (a->remaining != b->remaining) return a->remaining < b->remaining;
    return a->reset_s > b->reset_s;
}

/* Both forms of RateLimit: members of one record, parted by commas, or one record an item, whose name comes first. */
static void read_together(const char *p, struct ratelimit_told *out) {
    struct ratelimit_told one = nothing;
    bool begins = true; /* an item */
    while (*p) {
        p += strspn(p, " \t;");
        bool named = *p == '"' || p[strcspn(p, "=,;")] != '=';
        if (begins && named && *p && *p != ',') {
            if (is_tighter(&one, out)) *out = one;
            one = nothing;
        }
        begins = *p == ',';
        p = *p == ',' ? p + 1 : read_word(p, &one);
    }
    if (is_tighter(&one, out)) *out = one;
}

/* "100;w=21600": the first item's number, and its window. */
static int64_t read_count(const char *p, int64_t *window_s) {
    p += strspn(p, " \t");
    int64_t count = number(&p);
    struct ratelimit_told params = nothing;
    if (count < 0 || (*p && !strchr(" \t;,", *p))) return -1;
    while (*p && *p != ',') {
        p += strspn(p, " \t;");
        if (*p && *p != ',') p = read_word(p, &params);
    }
    if (params.window_s > 0) *window_s = params.window_s;
    return count;
}

/* `100;w=60` or `"default";q=100;w=60`: what the answer itself has not said. */
static void read_policy(const char *p, struct ratelimit_told *out) {
    struct ratelimit_told policy = nothing;
    policy.limit = read_count(p, &policy.window_s);
    if (policy.limit < 0) read_together(p, &policy);
    if (out->limit < 0) out->limit = policy.limit;
    if (out->window_s < 0) out->window_s = policy.window_s;
}

/* Seconds from now; -1: it cannot be true. */
static int64_t reset_in(int64_t reset, int64_t date_s) {
    if (reset >= UNIX_TIME_MIN) reset = reset > date_s ? reset - date_s : 0;
    return reset >= 0 && reset <= DAY_S ? reset : -1;
}

void ratelimit_read(const struct ratelimit_headers *h, struct ratelimit_told *out) {
    *out = nothing;
    if (h->together) read_together(h->together, out);
    if (h->policy) read_policy(h->policy, out);
    if (out->remaining < 0) {
        if (h->limit) out->limit = read_count(h->limit, &out->window_s);
        if (h->remaining) out->remaining = read_count(h->remaining, &out->window_s);
        int64_t none = -1;
        if (h->reset) out->reset_s = read_count(h->reset, &none);
    }
    out->reset_s = reset_in(out->reset_s, h->date_s);
    if (out->window_s <= 0) out->window_s = -1;
    if (out->window_s > DAY_S) out->window_s = DAY_S;
}

/* --- what follows from it --- */

void ratelimit_seen(struct ratelimit *r, const struct ratelimit_told *told, int64_t now_ms) {
    if (told->limit >= 0) r->limit = told->limit;
    if (told->window_s > 0) r->window_s = told->window_s;
    if (told->remaining < 0) return;
    if (!r->known || told->remaining > r->remaining) r->began_ms = now_ms; /* more than before: another window */
    r->known = true;
    r->remaining = told->remaining;
    r->reset_ms = told->reset_s >= 0 ? now_ms + told->reset_s * 1000 : 0;
    if (told->remaining > 0) r->not_until_ms = 0;
}

void ratelimit_refused(struct ratelimit *r, int64_t retry_after_s, bool counts, int64_t now_ms) {
    int64_t until = now_ms + retry_after_s * 1000;
    if (retry_after_s <= 0 || until <= r->not_until_ms) return;
    r->not_until_ms = until;
    r->any = !counts;
}

void ratelimit_asks(struct ratelimit *r, int64_t now_ms) {
    if (r->not_until_ms) r->not_until_ms = now_ms + TRIAL_MS;
}

void ratelimit_granted(struct ratelimit *r, bool counts) {
    if (counts || r->any) r->not_until_ms = 0;
}

int64_t ratelimit_until_ms(const struct ratelimit *r) {
    /* When to come again, in its own words, is known better than when a window may end that slides. */
    if (r->not_until_ms) return r->not_until_ms;
    if (!r->known || r->remaining > 0) return 0;
    if (r->reset_ms) return r->reset_ms;
    /* Without a window it is not known when, so it is asked. */
    return r->window_s ? r->began_ms + r->window_s * 1000 : 0;
}

int64_t ratelimit_wait_s(const struct ratelimit *r, int64_t now_ms) {
    int64_t until = ratelimit_until_ms(r);
    return until > now_ms ? (until - now_ms + 999) / 1000 : 0;
}
