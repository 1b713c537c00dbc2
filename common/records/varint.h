/* Numbers of seven bits a byte, the lowest first. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_VARINT_H
#define ENTREPOT_RECORDS_VARINT_H

#include "common/core/buf.h"

static inline int varint_add(struct buf *out, uint64_t n) {
    uint8_t b[10];
    size_t len = 0;
    for (; n > 0x7f; n >>= 7)
        b[len++] = (uint8_t)(n | 0x80);
    b[len++] = (uint8_t)n;
    return buf_add(out, b, len);
}

/* What is left to read. bad: it ended amid a number, or that was not of the shortest form. Then all further numbers are
 * 0. */
struct varint_in {
    const uint8_t *at;
    size_t left;
    bool bad;
};

/* Reads a number below 2^63. Only its shortest form is taken, so that equal values have equal bytes. */
static inline uint64_t varint_get(struct varint_in *in) {
    uint64_t n = 0;
    for (int shift = 0; shift < 63 && in->left > 0 && !in->bad; shift += 7) {
        uint8_t b = *in->at++;
        in->left--;
        n |= (uint64_t)(b & 0x7f) << shift;
        if (b > 0x7f) continue;
        if (b == 0 && shift > 0) break;
        return n;
    }
    in->bad = true;
    return 0;
}

#endif
