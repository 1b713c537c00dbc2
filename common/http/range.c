/* Ranges and conditions of requests. Thread: any. */
#include "common/http/range.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Digits only; too large a number is as good as the largest. */
static bool number(const char **p, int64_t *out) {
    if (!isdigit((unsigned char)**p)) return false;
    int64_t n = 0;
    for (; isdigit((unsigned char)**p); (*p)++)
        n = n > (INT64_MAX - 9) / 10 ? INT64_MAX : n * 10 + (**p - '0');
    *out = n;
    return true;
}

static void skip_blank(const char **p) {
    while (**p == ' ' || **p == '\t')
        (*p)++;
}

/* One of "a-b", "a-", "-n". 1: satisfiable, 0: beyond the end, -1: not a range. */
static int one_range(const char **p, int64_t size, struct http_range *r) {
    int64_t first, last;
    if (**p == '-') {
        (*p)++;
        if (!number(p, &last)) return -1;
        if (last == 0 || size == 0) return 0;
        *r = (struct http_range){last >= size ? 0 : size - last, size};
        return 1;
    }
    if (!number(p, &first) || *(*p)++ != '-') return -1;
    if (isdigit((unsigned char)**p)) {
        if (!number(p, &last) || last < first) return -1;
    } else {
        last = INT64_MAX - 1;
    }
    if (first >= size) return 0;
    *r = (struct http_range){first, last >= size ? size : last + 1};
    return 1;
}

/* Merges r into an earlier range it overlaps or adjoins, until no two do. */
static void add_merged(struct http_range *ranges, unsigned *n, struct http_range r) {
    for (unsigned i = 0; i < *n; i++) {
        if (r.start > ranges[i].end || r.end < ranges[i].start) continue;
        if (r.start > ranges[i].start) r.start = ranges[i].start;
        if (r.end < ranges[i].end) r.end = ranges[i].end;
        memmove(&ranges[i], &ranges[i + 1], (*n - i - 1) * sizeof(*ranges));
        (*n)--;
        i = (unsigned)-1; /* it may now reach others */
    }
    ranges[(*n)++] = r;
}

enum http_range_result http_range_parse(const char *header, int64_t size, struct http_range ranges[HTTP_RANGES_MAX],
                                        unsigned *n) {
    *n = 0;
    if (!header || strncasecmp(header, "bytes=", 6) != 0) return HTTP_RANGE_NONE;
    const char *p = header + 6;
    unsigned asked = 0;
    for (;;) {
        skip_blank(&p);
        if (*p == ',') {
            p++;
            continue;
        }
        if (!*p) break;
        struct http_range r;
        int k = one_range(&p, size, &r);
        if (k < 0 || ++asked > HTTP_RANGES_MAX) return HTTP_RANGE_NONE;
        skip_blank(&p);
        if (*p && *p != ',') return HTTP_RANGE_NONE;
        if (k > 0) add_merged(ranges, n, r);
    }
    if (asked == 0) return HTTP_RANGE_NONE;
    return *n ? HTTP_RANGE_PARTIAL : HTTP_RANGE_UNSATISFIABLE;
}

/* True if a list of entity tags contains etag. Weak tags count only if weak is set. */
static bool etag_listed(const char *list, const char *etag, bool weak) {
    size_t len = strlen(etag);
    for (const char *p = list; *p;) {
        while (*p == ' ' || *p == '\t' || *p == ',')
            p++;
        bool is_weak = strncmp(p, "W/", 2) == 0;
        const char *tag = is_weak ? p + 2 : p;
        if (*tag != '"') {
            p = strchrnul(p, ',');
            continue;
        }
        const char *end = strchr(tag + 1, '"');
        if (!end) return false;
        if ((weak || !is_weak) && (size_t)(end + 1 - tag) == len && memcmp(tag, etag, len) == 0) return true;
        p = end + 1;
    }
    return false;
}

static bool is_star(const char *s) {
    skip_blank(&s);
    return *s++ == '*' && (skip_blank(&s), *s == '\0');
}

bool http_if_none_match(const char *if_none_match, const char *etag) {
    return if_none_match && (is_star(if_none_match) || etag_listed(if_none_match, etag, true));
}

bool http_if_range(const char *if_range, const char *etag) {
    return !if_range || strcmp(if_range, etag) == 0;
}

bool http_if_match(const char *if_match, const char *etag) {
    return !if_match || is_star(if_match) || etag_listed(if_match, etag, false);
}
