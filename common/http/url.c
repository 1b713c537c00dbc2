/* URLs as far as a client needs them, and which addresses the other side may name. Pure. Thread: any. */
#include "common/http/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* --- addresses --- */

struct block {
    uint32_t net, mask;
};
#define BLOCK(a, b, c, d, bits) \
    { ((uint32_t)(a) << 24) | ((b) << 16) | ((c) << 8) | (d), (bits) ? 0xffffffffU << (32 - (bits)) : 0 }

/* RFC 6890 and its registry: what is not for everybody. */
static const struct block special4[] = {
    BLOCK(0, 0, 0, 0, 8),      BLOCK(10, 0, 0, 0, 8),    BLOCK(100, 64, 0, 0, 10),   BLOCK(127, 0, 0, 0, 8),
    BLOCK(169, 254, 0, 0, 16), BLOCK(172, 16, 0, 0, 12), BLOCK(192, 0, 0, 0, 24),    BLOCK(192, 0, 2, 0, 24),
    BLOCK(192, 168, 0, 0, 16), BLOCK(198, 18, 0, 0, 15), BLOCK(198, 51, 100, 0, 24), BLOCK(203, 0, 113, 0, 24),
    BLOCK(224, 0, 0, 0, 4),    BLOCK(240, 0, 0, 0, 4),
};

static bool public4(uint32_t addr) {
    for (size_t i = 0; i < ARRAY_LEN(special4); i++) {
        if ((addr & special4[i].mask) == special4[i].net) return false;
    }
    return true;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool public6(const uint8_t a[16]) {
    static const uint8_t zero[12] = {0};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(a, zero, 12) == 0) return false; /* ::, ::1, IPv4-compatible */
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0) return public4(be32(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02) return public4(be32(a + 2));            /* 6to4 */
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0) return false; /* Teredo */
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) return false;
    return (a[0] & 0xe0) == 0x20; /* 2000::/3 is all that is global */
}

bool http_addr_is_public(const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        return public4(ntohl(in->sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        return public6(in6->sin6_addr.s6_addr);
    }
    return false;
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
    if (!u) abort();
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
    if (!u) abort();
    char *joined = NULL, *copy = NULL;
    struct http_url parsed;
    if (curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &joined, 0) == CURLUE_OK && http_url_parse(joined, &parsed)) {
        copy = strdup(joined);
        if (!copy) abort();
    }
    curl_free(joined);
    curl_url_cleanup(u);
    return copy;
}
