/* How a registry's list goes on. Thread: any. */
#include "common/upstream/link.h"
#include "common/core/alloc.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The value of a parameter ends here; a quoted one may hold anything. */
static const char *value_end(const char *p) {
    if (*p != '"') return p + strcspn(p, ",; \t");
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1]) p++;
    }
    return *p ? p + 1 : p;
}

/* One of the words of a rel is "next". */
static bool has_next(const char *value, const char *end) {
    if (*value == '"') value++;
    while (value < end) {
        value += strspn(value, " \t");
        size_t n = strcspn(value, " \t\";,");
        if (n == 4 && strncasecmp(value, "next", 4) == 0) return true;
        value += n > 0 ? n : 1;
    }
    return false;
}

/* The parameters behind a target, to the comma before the next link. *next: one of them is rel=next; the first rel
 * counts. */
static const char *read_params(const char *p, bool *next) {
    bool seen = false;
    *next = false;
    while (*p && *p != ',') {
        p += strspn(p, " \t;");
        size_t name = strcspn(p, "=;, \t");
        const char *after = p + name + strspn(p + name, " \t");
        bool is_rel = name == 3 && strncasecmp(p, "rel", 3) == 0;
        if (*after != '=') {
            p = after > p ? after : p + (*p && *p != ',');
            continue;
        }
        const char *value = after + 1 + strspn(after + 1, " \t"), *end = value_end(value);
        if (is_rel && !seen) *next = has_next(value, end);
        seen = seen || is_rel;
        p = end;
    }
    return p;
}

/* The target of the first next link of a header line, freed by the caller; NULL: none. */
static char *find_next(const char *p) {
    while (*p) {
        p += strspn(p, " \t,");
        if (*p != '<') {
            p += strcspn(p, ",");
            continue;
        }
        const char *target = p + 1, *end = strchr(target, '>');
        if (!end) return NULL;
        bool next;
        p = read_params(end + 1, &next);
        if (!next) continue;
        char *copy = xstrndup(target, (size_t)(end - target));
        return copy;
    }
    return NULL;
}

static bool is_clean(const char *query) {
    for (; *query; query++) {
        if (*query <= 0x20 || *query >= 0x7f || strchr("<>\"", *query)) return false;
    }
    return true;
}

int link_next(const struct http_answer *a, const char *url, char **out, struct error *err) {
    const char *line;
    char *target = NULL;
    *out = NULL;
    for (unsigned i = 0; !target && (line = a->header_at(a, "link", i)); i++)
        target = find_next(line);
    if (!target) return 0;
    struct http_url here, there;
    char *joined = http_url_join(url, target);
    free(target);
    int r = 0;
    char *query = joined ? strchr(joined, '?') : NULL;
    if (query) query[strcspn(query, "#")] = '\0';
    if (!joined || !http_url_parse(joined, &there) || !http_url_parse(url, &here))
        r = error_set(err, ERR_UPSTREAM, "continues a list at something that is not a URL");
    else if (strcasecmp(here.host, there.host) != 0) /* behind a proxy a registry may be wrong about scheme and port */
        r = error_set(err, ERR_UPSTREAM, "continues a list at another host, %.100s", there.host);
    else if (!query || !query[1] || !is_clean(query))
        r = error_set(err, ERR_UPSTREAM, "continues a list at a URL without a usable query");
    else
        *out = xasprintf("<%s>; rel=\"next\"", query);
    free(joined);
    return r;
}
