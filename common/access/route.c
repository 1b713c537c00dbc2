/* A table is short: it is searched from the start. Thread: as route.h says. */
#include "common/access/route.h"

#include <stdio.h>
#include <string.h>

const char *methods_text(unsigned methods, char out[METHODS_TEXT_MAX]) {
    static const struct {
        enum http_method method;
        const char *word;
    } words[] = {{HTTP_GET, "GET"}, {HTTP_HEAD, "HEAD"},   {HTTP_POST, "POST"},
                 {HTTP_PUT, "PUT"}, {HTTP_PATCH, "PATCH"}, {HTTP_DELETE, "DELETE"}};
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!(methods & METHOD_SET(words[i].method))) continue;
        len += (size_t)snprintf(out + len, METHODS_TEXT_MAX - len, "%s%s", len ? ", " : "", words[i].word);
    }
    return out;
}

void routes_add(struct route_table *t, const struct route *routes, void *arg) {
    for (const struct route *r = routes; r && r->path; r++) {
        for (size_t i = 0; i < t->n; i++) {
            const struct route *o = t->rows[i].route;
            if (strcmp(o->path, r->path) == 0 && (o->methods & r->methods) && (o->ports & r->ports)) abort();
        }
        if (t->n == ROUTES_MAX) abort();
        t->rows[t->n++] = (struct route_row){r, arg};
    }
}

enum route_verdict routes_find(const struct route_table *t, unsigned port, const char *target, enum http_method method,
                               struct route_hit *out) {
    size_t len = strcspn(target, "?");
    *out = (struct route_hit){0};
    for (size_t i = 0; i < t->n; i++) {
        const struct route *r = t->rows[i].route;
        if (strlen(r->path) != len || memcmp(r->path, target, len) != 0) continue;
        if (!(r->ports & port)) {
            out->ports |= r->ports;
            continue;
        }
        out->allowed |= r->methods;
        if (!(r->methods & METHOD_SET(method))) continue;
        out->route = r;
        out->arg = t->rows[i].arg;
        return ROUTE_FOUND;
    }
    return out->allowed ? ROUTE_OTHER_METHOD : out->ports ? ROUTE_OTHER_PORT : ROUTE_NO_PATH;
}
