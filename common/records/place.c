/* Places as text. Thread: any. */
#include "common/records/place.h"

#include <stdio.h>
#include <stdlib.h>

static void to_hex(const uint8_t *in, size_t n, char *out) {
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", in[i]);
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(const char *s, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(s[2 * i]), low = high < 0 ? -1 : digit(s[2 * i + 1]);
        if (low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

char *place_text(const struct place *p, char out[PLACE_TEXT_MAX]) {
    uint8_t digest[SET_DIGEST_BYTES];
    char epoch[2 * EPOCH_BYTES + 1], hex[2 * SET_DIGEST_BYTES + 1];
    set_digest_put(&p->digest, digest);
    to_hex(p->epoch, EPOCH_BYTES, epoch);
    to_hex(digest, SET_DIGEST_BYTES, hex);
    snprintf(out, PLACE_TEXT_MAX, "%s.%llu.%s", epoch, (unsigned long long)p->number, hex);
    return out;
}

char *place_short(const struct place *p, char out[PLACE_TEXT_MAX]) {
    char epoch[9];
    to_hex(p->epoch, 4, epoch);
    snprintf(out, PLACE_TEXT_MAX, "%s.%llu", epoch, (unsigned long long)p->number);
    return out;
}

int place_parse(const char *s, struct place *out) {
    uint8_t digest[SET_DIGEST_BYTES];
    size_t digits = 0;
    if (strnlen(s, PLACE_TEXT_MAX) >= PLACE_TEXT_MAX || strlen(s) < 2 * EPOCH_BYTES + 3) return ERR_INVALID;
    if (!from_hex(s, EPOCH_BYTES, out->epoch) || s[2 * EPOCH_BYTES] != '.') return ERR_INVALID;
    const char *number = s + 2 * EPOCH_BYTES + 1;
    while (number[digits] >= '0' && number[digits] <= '9')
        digits++;
    if (digits == 0 || digits > 19 || number[digits] != '.') return ERR_INVALID;
    const char *hex = number + digits + 1;
    if (strlen(hex) != 2 * SET_DIGEST_BYTES || !from_hex(hex, SET_DIGEST_BYTES, digest)) return ERR_INVALID;
    out->number = strtoull(number, NULL, 10);
    out->digest = set_digest_get(digest);
    return 0;
}
