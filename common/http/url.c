/* Parsing of URLs, and which addresses a server may refer the client to. Pure. Thread: any. */
#include "common/http/client.h"
#include "common/core/alloc.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- addresses --- */

struct block {
    uint32_t net, mask;
    enum http_addr_class kind;
};
#define BLOCK(a, b, c, d, bits, kind) \
    { ((uint32_t)(a) << 24) | ((b) << 16) | ((c) << 8) | (d), 0xffffffffU << (32 - (bits)), HTTP_ADDR_##kind }

/* IPv4 addresses that are not public (RFC 6890 and its registry). */
static const struct block special4[] = {
    BLOCK(10, 0, 0, 0, 8, PRIVATE),    BLOCK(172, 16, 0, 0, 12, PRIVATE),   BLOCK(192, 168, 0, 0, 16, PRIVATE),
    BLOCK(100, 64, 0, 0, 10, PRIVATE), BLOCK(127, 0, 0, 0, 8, LOOPBACK),    BLOCK(169, 254, 0, 0, 16, LINK_LOCAL),
    BLOCK(0, 0, 0, 0, 8, SPECIAL),     BLOCK(192, 0, 0, 0, 24, SPECIAL),    BLOCK(192, 0, 2, 0, 24, SPECIAL),
    BLOCK(198, 18, 0, 0, 15, SPECIAL), BLOCK(198, 51, 100, 0, 24, SPECIAL), BLOCK(203, 0, 113, 0, 24, SPECIAL),
    BLOCK(224, 0, 0, 0, 4, SPECIAL),   BLOCK(240, 0, 0, 0, 4, SPECIAL),
};

static enum http_addr_class class4(uint32_t addr) {
    for (size_t i = 0; i < ARRAY_LEN(special4); i++) {
        if ((addr & special4[i].mask) == special4[i].net) return special4[i].kind;
    }
    return HTTP_ADDR_PUBLIC;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum http_addr_class class6(const uint8_t a[16]) {
    static const uint8_t zero[15] = {0};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(a, zero, 15) == 0 && a[15] == 1) return HTTP_ADDR_LOOPBACK;
    if (memcmp(a, zero, 12) == 0) return HTTP_ADDR_SPECIAL; /* ::, IPv4-compatible */
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0) return class4(be32(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02) return class4(be32(a + 2));                         /* 6to4 */
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0) return HTTP_ADDR_SPECIAL; /* Teredo */
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) return HTTP_ADDR_SPECIAL;
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) return HTTP_ADDR_LINK_LOCAL;
    if ((a[0] & 0xfe) == 0xfc) return HTTP_ADDR_PRIVATE;
    return (a[0] & 0xe0) == 0x20 ? HTTP_ADDR_PUBLIC : HTTP_ADDR_SPECIAL; /* 2000::/3 is all that is global */
}

enum http_addr_class http_addr_class(const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        return class4(ntohl(in->sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        return class6(in6->sin6_addr.s6_addr);
    }
    return HTTP_ADDR_SPECIAL;
}

bool http_reach_allows(enum http_reach reach, enum http_addr_class to) {
    switch (to) {
    case HTTP_ADDR_PUBLIC:
        return true;
    case HTTP_ADDR_PRIVATE:
        return reach != HTTP_REACH_PUBLIC;
    case HTTP_ADDR_LOOPBACK:
        return reach == HTTP_REACH_ANY || reach == HTTP_REACH_LOOPBACK;
    default:
        return reach == HTTP_REACH_ANY;
    }
}

enum http_reach http_reach_from(enum http_addr_class from) {
    switch (from) {
    case HTTP_ADDR_PUBLIC:
        return HTTP_REACH_PUBLIC;
    case HTTP_ADDR_LOOPBACK:
        return HTTP_REACH_LOOPBACK;
    default:
        return HTTP_REACH_PRIVATE;
    }
}

enum http_addr_class http_host_class(const char *host) {
    size_t n = strlen(host), suffix = strlen(".localhost");
    if (strcasecmp(host, "localhost") == 0 || (n > suffix && strcasecmp(host + n - suffix, ".localhost") == 0))
        return HTTP_ADDR_LOOPBACK;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0) return HTTP_ADDR_PUBLIC;
    enum http_addr_class class = http_addr_class(found->ai_addr);
    freeaddrinfo(found);
    return class;
}

/* --- URLs --- */

/* Copies a part of u; false if it is absent or too long. */
static bool part(CURLU *u, CURLUPart what, char *out, size_t cap) {
    char *text = NULL;
    bool ok = curl_url_get(u, what, &text, 0) == CURLUE_OK && strlen(text) < cap;
    if (ok) memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

static bool has_credentials(CURLU *u) {
    char *text = NULL;
    bool has = curl_url_get(u, CURLUPART_USER, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static bool take_apart(CURLU *u, struct http_url *out) {
    if (!part(u, CURLUPART_SCHEME, out->scheme, sizeof(out->scheme)) ||
        !part(u, CURLUPART_HOST, out->host, sizeof(out->host)))
        return false;
    if (strcmp(out->scheme, "http") != 0 && strcmp(out->scheme, "https") != 0) return false;
    char port[8];
    out->port = strcmp(out->scheme, "https") == 0 ? 443 : 80;
    if (part(u, CURLUPART_PORT, port, sizeof(port))) out->port = (unsigned)strtoul(port, NULL, 10);
    size_t n = strlen(out->host);
    if (n > 2 && out->host[0] == '[' && out->host[n - 1] == ']') {
        memmove(out->host, out->host + 1, n - 2);
        out->host[n - 2] = '\0';
    }
    return n > 0 && out->port > 0 && !has_credentials(u);
}

bool http_url_parse(const char *url, struct http_url *out) {
    memset(out, 0, sizeof(*out));
    CURLU *u = curl_url();
    if (!u) out_of_memory();
    bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && take_apart(u, out);
    curl_url_cleanup(u);
    if (!ok) return false;
    const char *rest = strstr(url, "://");
    rest = rest ? strchr(rest + 3, '/') : NULL;
    out->path = rest ? rest : "";
    return true;
}

char *http_url_join(const char *base, const char *location) {
    CURLU *u = curl_url();
    if (!u) out_of_memory();
    char *joined = NULL, *copy = NULL;
    struct http_url parsed;
    if (curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, CURLU_ALLOW_SPACE | CURLU_URLENCODE) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &joined, 0) == CURLUE_OK && http_url_parse(joined, &parsed)) {
        copy = xstrdup(joined);
    }
    curl_free(joined);
    curl_url_cleanup(u);
    return copy;
}
