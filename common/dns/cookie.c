/* Makes and checks DNS cookies. Thread: any. */
#include "common/dns/cookie.h"

#include "common/dns/dns_query.h"
#include "common/core/file.h"
#include "common/core/siphash.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* RFC 9018 section 4.3. */
enum { OLDEST_S = 3600, EARLIEST_S = 300, FILE_MAX = 4096 };

static bool key_read(uint64_t key[2], const char *text, size_t len) {
    uint8_t bytes[16];
    if (len != 32 || strspn(text, "0123456789abcdefABCDEF") < 32) return false;
    for (size_t i = 0; i < 16; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    memcpy(key, bytes, 16);
    key[0] = le64toh(key[0]);
    key[1] = le64toh(key[1]);
    return true;
}

int dns_cookies_load(struct dns_cookies *c, const char *path, struct error *err) {
    _cleanup_(freep) char *text = NULL;
    size_t len;
    memset(c, 0, sizeof(*c));
    if (!path) {
        c->n = 1;
        if (getrandom(c->keys[0], sizeof(c->keys[0]), 0) != (ssize_t)sizeof(c->keys[0]))
            return error_errno(err, "no random bytes for DNS cookies");
        return 0;
    }
    int r = file_read_all(path, FILE_MAX, &text, &len, err);
    if (r < 0) return error_wrap(err, "dns.cookie_file");
    for (const char *line = text; *line && c->n < ARRAY_LEN(c->keys);) {
        size_t size = strcspn(line, "\r\n");
        if (!key_read(c->keys[c->n], line, size)) break;
        c->n++;
        line += size + strspn(line + size, "\r\n");
    }
    if (c->n) return 0;
    error_set(err, ERR_INVALID, "dns.cookie_file: the first line of %s is not 32 hexadecimal digits", path);
    error_hint(err, "make one: head -c 16 /dev/urandom | xxd -p > %s", path);
    return ERR_INVALID;
}

/* The hash of client cookie, version, reserved, time and address. head: the first 16 bytes of a cookie. */
static void hash(const uint64_t key[2], const uint8_t *head, const struct ip *ip, uint8_t out[8]) {
    uint8_t in[32];
    size_t size = ip_is_v4(ip) ? 4 : 16;
    memcpy(in, head, 16);
    memcpy(in + 16, ip->bytes + 16 - size, size);
    uint64_t h = htole64(siphash(key, in, 16 + size));
    memcpy(out, &h, 8);
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)dns_get16(p) << 16 | dns_get16(p + 2);
}

bool dns_cookie_good(const struct dns_cookies *c, const uint8_t *cookie, size_t len, const struct ip *ip,
                     uint32_t now_s) {
    if (len != DNS_COOKIE_WHOLE || cookie[8] != 1) return false;
    int32_t age = (int32_t)(now_s - get32(cookie + 12)); /* RFC 1982: serial arithmetic */
    if (age > OLDEST_S || age < -EARLIEST_S) return false;
    for (size_t i = 0; i < c->n; i++) {
        uint8_t own[8], differ = 0;
        hash(c->keys[i], cookie, ip, own);
        for (size_t j = 0; j < 8; j++)
            differ |= own[j] ^ cookie[16 + j];
        if (!differ) return true;
    }
    return false;
}

void dns_cookie_make(const struct dns_cookies *c, const uint8_t *client, const struct ip *ip, uint32_t now_s,
                     uint8_t out[DNS_COOKIE_WHOLE]) {
    memmove(out, client, 8);
    dns_put32(out + 8, 1u << 24);
    dns_put32(out + 12, now_s);
    hash(c->keys[0], out, ip, out + 16);
}
