/* Which proxy the environment names for a URL, by the rules curl and Go share. Pure but for the environment. Thread:
 * any. */
#include "common/http/client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *env(const char *lower, const char *upper) {
    const char *value = getenv(lower);
    if (!value || !*value) value = getenv(upper);
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

const char *http_proxy_for(const struct http_url *u) {
    const char *proxy =
        strcmp(u->scheme, "https") == 0 ? env("https_proxy", "HTTPS_PROXY") : env("http_proxy", "HTTP_PROXY");
    if (!proxy) proxy = env("all_proxy", "ALL_PROXY");
    const char *no = proxy ? env("no_proxy", "NO_PROXY") : NULL;
    while (no && *no) {
        no += strspn(no, ", \t");
        size_t len = strcspn(no, ", \t");
        if (len && excepts(u, no, len)) return NULL;
        no += len;
    }
    return proxy;
}
