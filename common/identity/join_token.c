/* The token's text: "entrepot1-" and base64url (RFC 4648 section 5, unpadded) of
 *
 *   length of all that follows (2) | expiry (8) | secret (20) | n, n roots (32 each) | n, n × (length (1), HOST:PORT) |
 *   the first 8 bytes of the SHA-256 of all before
 *
 * Numbers are big-endian. Thread: any. */
#include "common/identity/join_token.h"

#include "common/core/buf.h"
#include "common/core/digest.h"
#include "common/core/host_port.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "entrepot1-"
#define FAMILY "entrepot"
#define SUM_BYTES 8
#define BYTES_MAX 3000

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* --- base64url --- */

static size_t encode(const uint8_t *in, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) |
                     (i + 2 < len ? (uint32_t)in[i + 2] : 0);
        size_t chars = len - i >= 3 ? 4 : len - i + 1;
        for (size_t k = 0; k < chars; k++)
            out[n++] = alphabet[v >> (18 - 6 * k) & 63];
    }
    out[n] = '\0';
    return n;
}

/* The number of bytes; -1: a character that is not of the alphabet, which *bad then is. */
static ssize_t decode(const char *in, size_t len, uint8_t *out, char *bad) {
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = in[i] ? strchr(alphabet, in[i]) : NULL;
        if (!at) {
            *bad = in[i];
            return -1;
        }
        v = v << 6 | (uint32_t)(at - alphabet);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        out[n++] = (uint8_t)(v >> bits);
    }
    return (ssize_t)n;
}

/* --- writing --- */

static void put_number(struct buf *b, uint64_t v, unsigned bytes, bool *full) {
    uint8_t raw[8];
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    if (buf_add(b, raw, bytes) < 0) *full = true;
}

static void put(struct buf *b, const void *data, size_t len, bool *full) {
    if (buf_add(b, data, len) < 0) *full = true;
}

static bool is_address(const char *text) {
    struct host_port hp;
    for (const char *p = text; *p; p++)
        if (*p <= 0x20 || *p > 0x7e) return false;
    return host_port_parse(&hp, text) && hp.host[0] && hp.port > 0;
}

static void add_sum(struct buf *b, bool *full) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, b->data, b->len);
    put(b, d.bytes, SUM_BYTES, full);
}

int token_format(const struct join_token *t, char out[TOKEN_TEXT_MAX], struct error *err) {
    struct buf b;
    bool full = false;
    if (t->n_roots == 0 || t->n_roots > TOKEN_ROOTS_MAX || t->n_addresses == 0 || t->n_addresses > TOKEN_ADDRESSES_MAX)
        return error_set(err, ERR_INVALID, "a token needs a root and an address");
    buf_init(&b, BYTES_MAX);
    put_number(&b, 0, 2, &full);
    put_number(&b, (uint64_t)t->expires_s, 8, &full);
    put(&b, t->secret, sizeof(t->secret), &full);
    put_number(&b, t->n_roots, 1, &full);
    put(&b, t->roots, t->n_roots * ROOT_HASH_BYTES, &full);
    put_number(&b, t->n_addresses, 1, &full);
    for (size_t i = 0; i < t->n_addresses; i++) {
        size_t len = strlen(t->addresses[i]);
        if (!is_address(t->addresses[i]) || len > UINT8_MAX) {
            buf_fini(&b);
            return error_set(err, ERR_INVALID, "\"%.100s\" is not an address: give HOST:PORT", t->addresses[i]);
        }
        put_number(&b, len, 1, &full);
        put(&b, t->addresses[i], len, &full);
    }
    if (!full) {
        size_t rest = b.len - 2 + SUM_BYTES;
        b.data[0] = (char)(rest >> 8);
        b.data[1] = (char)(rest & 255);
        add_sum(&b, &full);
    }
    if (!full) {
        memcpy(out, PREFIX, strlen(PREFIX));
        encode((const uint8_t *)b.data, b.len, out + strlen(PREFIX));
    }
    buf_fini(&b);
    return full ? error_set(err, ERR_TOO_BIG, "the token's addresses are too long") : 0;
}

/* --- reading --- */

struct reader {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct reader *r, size_t len) {
    static const uint8_t nothing[ROOT_HASH_BYTES * TOKEN_ROOTS_MAX];
    if (len > r->left || r->bad) {
        r->bad = true;
        return nothing;
    }
    const uint8_t *at = r->p;
    r->p += len;
    r->left -= len;
    return at;
}

static uint64_t number(struct reader *r, unsigned bytes) {
    const uint8_t *at = take(r, bytes);
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | at[i];
    return v;
}

static bool read_fields(struct join_token *t, struct reader *r) {
    t->expires_s = (int64_t)number(r, 8);
    memcpy(t->secret, take(r, sizeof(t->secret)), sizeof(t->secret));
    t->n_roots = (size_t)number(r, 1);
    if (t->n_roots == 0 || t->n_roots > TOKEN_ROOTS_MAX) return false;
    memcpy(t->roots, take(r, t->n_roots * ROOT_HASH_BYTES), t->n_roots * ROOT_HASH_BYTES);
    t->n_addresses = (size_t)number(r, 1);
    if (t->n_addresses == 0 || t->n_addresses > TOKEN_ADDRESSES_MAX) return false;
    for (size_t i = 0; i < t->n_addresses; i++) {
        size_t len = (size_t)number(r, 1);
        if (len >= TOKEN_ADDRESS_MAX) return false;
        const uint8_t *at = take(r, r->bad ? 0 : len);
        if (r->bad) return false;
        memcpy(t->addresses[i], at, len);
        if (strlen(t->addresses[i]) != len || !is_address(t->addresses[i])) return false;
    }
    return !r->bad && r->left == 0 && t->expires_s > 0;
}

static int wrong(struct error *err, const char *what) {
    error_set(err, ERR_INVALID, "the token %s", what);
    error_hint(err, "copy the whole first line that `entrepot-central edge invite` printed");
    return ERR_INVALID;
}

static int read_bytes(struct join_token *out, const uint8_t *bytes, size_t len, size_t chars, struct error *err) {
    char what[160];
    struct digest d;
    size_t promised = len >= 2 ? 2 + ((size_t)bytes[0] << 8 | bytes[1]) : SIZE_MAX;
    if (len < promised) {
        if (promised > BYTES_MAX)
            snprintf(what, sizeof(what), "is cut or mistyped: it has %zu characters", chars);
        else
            snprintf(what, sizeof(what), "is cut: it has %zu of %zu characters", chars,
                     strlen(PREFIX) + (promised * 8 + 5) / 6);
        return wrong(err, what);
    }
    if (promised < 2 + SUM_BYTES) return wrong(err, "is mistyped: its checksum does not fit");
    digest_of(&d, DIGEST_SHA256, bytes, promised - SUM_BYTES);
    if (memcmp(d.bytes, bytes + promised - SUM_BYTES, SUM_BYTES) != 0)
        return wrong(err, "is mistyped: its checksum does not fit");
    if (len > promised) return wrong(err, "has characters after its end");
    struct reader r = {.p = bytes + 2, .left = promised - 2 - SUM_BYTES};
    return read_fields(out, &r) ? 0 : wrong(err, "is of a kind that this version does not know");
}

int token_parse(struct join_token *out, const char *text, struct error *err) {
    uint8_t bytes[TOKEN_TEXT_MAX];
    char what[100], bad = 0;
    *out = (struct join_token){0};
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    if (len == 0) return wrong(err, "is empty");
    if (len >= TOKEN_TEXT_MAX) return wrong(err, "is too long to be one");
    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0) {
        bool newer = len > strlen(PREFIX) && strncmp(text, FAMILY, strlen(FAMILY)) == 0 &&
                     isdigit((unsigned char)text[strlen(FAMILY)]);
        bool cut = len < strlen(PREFIX) && strncmp(text, PREFIX, len) == 0;
        return wrong(err, cut     ? "is cut"
                          : newer ? "was made by a newer central: upgrade entrepot-edge"
                                  : "does not begin with " PREFIX ": this is no token, or its beginning is missing");
    }
    ssize_t n = decode(text + strlen(PREFIX), len - strlen(PREFIX), bytes, &bad);
    if (n >= 0) return read_bytes(out, bytes, (size_t)n, len, err);
    snprintf(what, sizeof(what), "is mistyped: it holds %s%c%s, which no token has",
             isgraph((unsigned char)bad) ? "'" : "a blank or ", isgraph((unsigned char)bad) ? bad : '?',
             isgraph((unsigned char)bad) ? "'" : "");
    return wrong(err, what);
}
