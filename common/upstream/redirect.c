/* Redirects and origins. Thread: any. */
#include "common/upstream/redirect.h"

#include <string.h>
#include <strings.h>

bool redirect_is(int status) {
    return status == 300 || status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool origin_same(const struct http_url *a, const struct http_url *b) {
    return strcmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 && a->port == b->port;
}

bool realm_is_usable(const struct http_url *endpoint, const char *realm) {
    struct http_url u;
    if (strchr(realm, '#') || !http_url_parse(realm, &u)) return false;
    return strcmp(u.scheme, "https") == 0 || strcmp(endpoint->scheme, "http") == 0;
}

int redirect_follow(const char *from, const char *location, struct redirect *out, struct error *err) {
    struct http_url before, after;
    *out = (struct redirect){0};
    if (!location || !http_url_parse(from, &before))
        return error_set(err, ERR_UPSTREAM, "redirected without a Location");
    char *url = http_url_join(from, location);
    if (!url || !http_url_parse(url, &after)) {
        free(url);
        return error_set(err, ERR_UPSTREAM, "redirected to something that is not an http or https URL");
    }
    if (strcmp(before.scheme, "https") == 0 && strcmp(after.scheme, "https") != 0) {
        free(url);
        return error_set(err, ERR_UPSTREAM, "redirected from https to plain http at %.100s", after.host);
    }
    out->url = url;
    out->same_origin = origin_same(&before, &after);
    out->upgraded = before.port == 80 && after.port == 443 && strcmp(before.scheme, "http") == 0 &&
                    strcmp(after.scheme, "https") == 0 && strcasecmp(before.host, after.host) == 0;
    return 0;
}
