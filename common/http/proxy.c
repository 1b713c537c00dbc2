/* Which proxy the environment names for a URL, by the rules curl and Go share. Pure but for the environment.
 * Thread: any. */
#include "common/http/client.h"

#include "common/core/alloc.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *env(const char *lower, const char *upper, const char **name) {
    const char *value = getenv(lower);
    *name = lower;
    if (value && *value) return value;
    *name = upper;
    value = getenv(upper);
    return value && *value ? value : NULL;
}

/* "10.0.0.0/8" or "10.1.2.3" over a literal address; false also when either is not one. */
static bool in_network(const char *host, const char *net, size_t len) {
    char text[64];
    unsigned char a[16], b[16];
    if (len >= sizeof(text)) return false;
    memcpy(text, net, len);
    text[len] = '\0';
    char *slash = strchr(text, '/');
    if (slash) *slash++ = '\0';
    int family = strchr(host, ':') ? AF_INET6 : AF_INET;
    unsigned long size = family == AF_INET6 ? 128 : 32, bits = size;
    if (inet_pton(family, host, a) != 1 || inet_pton(family, text, b) != 1) return false;
    if (slash) {
        char *end;
        bits = strtoul(slash, &end, 10);
        if (end == slash || *end || bits > size) return false;
    }
    if (memcmp(a, b, bits / 8) != 0) return false;
    unsigned mask = (0xff00u >> (bits % 8)) & 0xff;
    return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

/* One entry of no_proxy: "*", "example.com" (and all under it), ".example.com", an address, a network, any with :port.
 */
static bool excepts(const struct http_url *u, const char *entry, size_t len) {
    if (len == 1 && *entry == '*') return true;
    if (in_network(u->host, entry, len)) return true;
    const char *colon = memchr(entry, ':', len);
    if (colon && !memchr(colon + 1, ':', (size_t)(entry + len - colon - 1))) {
        char port[8];
        snprintf(port, sizeof(port), "%u", u->port);
        size_t n = (size_t)(entry + len - colon - 1);
        if (strlen(port) != n || memcmp(colon + 1, port, n) != 0) return false;
        len = (size_t)(colon - entry);
    }
    while (len && *entry == '.') {
        entry++;
        len--;
    }
    while (len && entry[len - 1] == '.')
        len--;
    size_t host = strlen(u->host);
    if (host && u->host[host - 1] == '.') host--;
    if (len == 0 || len > host || strncasecmp(u->host + host - len, entry, len) != 0) return false;
    return len == host || u->host[host - len - 1] == '.';
}

const char *http_proxy_for(const struct http_url *u, const char **variable) {
    const char *unused, *proxy = strcmp(u->scheme, "https") == 0 ? env("https_proxy", "HTTPS_PROXY", variable)
                                                                 : env("http_proxy", "HTTP_PROXY", variable);
    if (!proxy) proxy = env("all_proxy", "ALL_PROXY", variable);
    const char *no = proxy ? env("no_proxy", "NO_PROXY", &unused) : NULL;
    while (no && *no) {
        no += strspn(no, ", \t");
        size_t len = strcspn(no, ", \t");
        if (len && excepts(u, no, len)) return NULL;
        no += len;
    }
    return proxy;
}

/* --- its URL --- */

/* Percent-decoded, without control bytes; NULL: it is not such a text. */
static char *decoded(const char *text, size_t len) {
    char *out = xmalloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            char hex[3] = {0}, *end;
            if (len - i >= 3) memcpy(hex, text + i + 1, 2);
            c = (unsigned char)strtoul(hex, &end, 16);
            if (end != hex + 2 || c < 0x20) {
                free(out);
                return NULL;
            }
            i += 2;
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return out;
}

static bool take_user(struct http_proxy *out, const char *text, size_t len) {
    const char *colon = memchr(text, ':', len);
    size_t name = colon ? (size_t)(colon - text) : len;
    out->user = decoded(text, name);
    out->password = colon ? decoded(colon + 1, len - name - 1) : xstrdup("");
    return out->user && out->password;
}

static bool take_place(struct http_proxy *out, const char *scheme, size_t scheme_len, const char *place, size_t len) {
    struct http_url parsed;
    char as_http[300];
    if (len == 0 || len > 260) return false;
    snprintf(as_http, sizeof(as_http), "http://%.*s", (int)len, place);
    if (!http_url_parse(as_http, &parsed)) return false;
    bool has_port = strrchr(as_http, ':') > strrchr(as_http, ']') && strrchr(as_http, ':') > as_http + 5;
    unsigned port = has_port ? parsed.port : scheme_len == 5 && strncasecmp(scheme, "https", 5) == 0 ? 443 : 1080;
    snprintf(out->place, sizeof(out->place), strchr(parsed.host, ':') ? "[%s]:%u" : "%s:%u", parsed.host, port);
    snprintf(out->url, sizeof(out->url), "%.*s://%s", (int)scheme_len, scheme, out->place);
    return true;
}

/* Parses http://USER:PASSWORD@HOST:PORT. */
static const char *take_apart(struct http_proxy *out, const char *value) {
    static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    const char *sep = strstr(value, "://"), *rest = sep ? sep + 3 : value, *scheme = sep ? value : "http";
    size_t scheme_len = sep ? (size_t)(sep - value) : strlen("http");
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        known = known || (strlen(schemes[i]) == scheme_len && strncasecmp(schemes[i], scheme, scheme_len) == 0);
    for (const char *p = value; *p; p++) {
        if (*p <= ' ' || *p > '~') return "holds a space or another character that does not belong in a URL";
    }
    if (!known) return "must begin with http://, https://, socks4:// or socks5://";
    size_t len = strcspn(rest, "/?#");
    if (strcmp(rest + len, "") != 0 && strcmp(rest + len, "/") != 0) return "has more than a host and port";
    const char *at = memchr(rest, '@', len);
    if (at && memchr(at + 1, '@', len - (size_t)(at + 1 - rest))) return "has more than one @";
    if (at && !take_user(out, rest, (size_t)(at - rest))) return "has a user or password with an unreadable % in it";
    const char *place = at ? at + 1 : rest;
    return take_place(out, scheme, scheme_len, place, len - (size_t)(place - rest)) ? NULL
                                                                                    : "has no usable host and port";
}

int http_proxy_read(const char *what, const char *value, struct http_proxy *out, struct error *err) {
    *out = (struct http_proxy){0};
    const char *wrong = take_apart(out, value);
    if (!wrong) return 0;
    http_proxy_fini(out);
    error_set(err, ERR_INVALID, "%s is no proxy's URL: it %s", what, wrong);
    error_hint(
        err,
        "write it as http://HOST:3128, with USER:PASSWORD@ before HOST if it wants them; in a password # is %%23, / is "
        "%%2F, "
        "@ is %%40, a space is %%20, %% is %%25");
    return ERR_INVALID;
}

void http_proxy_fini(struct http_proxy *p) {
    free(p->user);
    if (p->password) explicit_bzero(p->password, strlen(p->password));
    free(p->password);
    p->user = p->password = NULL;
}

int http_proxies_check(struct error *err) {
    static const char *const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                        "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        struct http_proxy proxy;
        if (!value || !*value) continue;
        char what[40];
        snprintf(what, sizeof(what), "%s in the environment", names[i]);
        int r = http_proxy_read(what, value, &proxy, err);
        if (r < 0) return r;
        http_proxy_fini(&proxy);
    }
    return 0;
}
