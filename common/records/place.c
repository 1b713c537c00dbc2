/* Places as text. Thread: any. */
#include "common/records/place.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/core/hex.h"

char *place_text(const struct place *p, char out[PLACE_TEXT_MAX]) {
    uint8_t digest[SET_DIGEST_BYTES];
    char epoch[2 * EPOCH_BYTES + 1], hex[2 * SET_DIGEST_BYTES + 1];
    set_digest_put(&p->digest, digest);
    hex_write(p->epoch, EPOCH_BYTES, epoch);
    hex_write(digest, SET_DIGEST_BYTES, hex);
    snprintf(out, PLACE_TEXT_MAX, "%s.%llu.%s", epoch, (unsigned long long)p->number, hex);
    return out;
}

char *place_short(const struct place *p, char out[PLACE_TEXT_MAX]) {
    char epoch[9];
    hex_write(p->epoch, 4, epoch);
    snprintf(out, PLACE_TEXT_MAX, "%s.%llu", epoch, (unsigned long long)p->number);
    return out;
}

int place_parse(const char *s, struct place *out) {
    uint8_t digest[SET_DIGEST_BYTES];
    size_t digits = 0;
    if (strnlen(s, PLACE_TEXT_MAX) >= PLACE_TEXT_MAX || strlen(s) < 2 * EPOCH_BYTES + 3) return ERR_INVALID;
    if (!hex_read(s, EPOCH_BYTES, out->epoch) || s[2 * EPOCH_BYTES] != '.') return ERR_INVALID;
    const char *number = s + 2 * EPOCH_BYTES + 1;
    while (number[digits] >= '0' && number[digits] <= '9')
        digits++;
    if (digits == 0 || digits > 19 || number[digits] != '.') return ERR_INVALID;
    const char *hex = number + digits + 1;
    if (strlen(hex) != 2 * SET_DIGEST_BYTES || !hex_read(hex, SET_DIGEST_BYTES, digest)) return ERR_INVALID;
    out->number = strtoull(number, NULL, 10);
    out->digest = set_digest_get(digest);
    return 0;
}
