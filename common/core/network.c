/* Parses and compares addresses and networks. Thread: any. */
#include "common/core/network.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool ip_parse(struct ip *out, const char *text, size_t len) {
    char copy[IP_TEXT_MAX];
    if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len)) return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET6, copy, out->bytes) == 1) return true;
    memcpy(out->bytes, mapped, sizeof(mapped));
    return inet_pton(AF_INET, copy, out->bytes + sizeof(mapped)) == 1;
}

bool ip_is_v4(const struct ip *ip) {
    return memcmp(ip->bytes, mapped, sizeof(mapped)) == 0;
}

bool ip_is_loopback(const struct ip *ip) {
    static const unsigned char v6[16] = {[15] = 1};
    return memcmp(ip->bytes, v6, sizeof(v6)) == 0 || (ip_is_v4(ip) && ip->bytes[12] == 127);
}

const char *ip_text(const struct ip *ip, char out[IP_TEXT_MAX]) {
    bool v4 = ip_is_v4(ip);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, ip->bytes + (v4 ? sizeof(mapped) : 0), out, IP_TEXT_MAX)) abort();
    return out;
}

struct ip ip_client_prefix(const struct ip *ip) {
    struct ip one = *ip;
    if (!ip_is_v4(ip)) memset(one.bytes + 8, 0, 8);
    return one;
}

/* Parses a prefix length, "0" to "128". */
static bool bits_parse(const char *text, unsigned max, unsigned *bits) {
    unsigned n = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3) return false;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9') return false;
        n = n * 10 + (unsigned)(*c - '0');
    }
    *bits = n;
    return n <= max;
}

static bool bit(const struct ip *ip, unsigned i) {
    return ip->bytes[i / 8] & (0x80u >> (i % 8));
}

bool network_parse(struct network *out, const char *text) {
    size_t len = strcspn(text, "/");
    if (!text[len] || !ip_parse(&out->ip, text, len)) return false;
    bool v4 = ip_is_v4(&out->ip) && !memchr(text, ':', len);
    unsigned most = v4 ? 32 : 128, bits;
    if (!bits_parse(text + len + 1, most, &bits)) return false;
    out->bits = bits + (v4 ? 96 : 0);
    return true;
}

bool network_has(const struct network *n, const struct ip *ip) {
    unsigned whole = n->bits / 8;
    if (memcmp(n->ip.bytes, ip->bytes, whole) != 0) return false;
    for (unsigned i = whole * 8; i < n->bits; i++)
        if (bit(&n->ip, i) != bit(ip, i)) return false;
    return true;
}
