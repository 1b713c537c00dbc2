/* Writes and reads hexadecimal digits. Thread: any. */
#include "common/core/hex.h"

void hex_write(const void *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * n] = '\0';
}

bool hex_read(const char *s, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        int high = hex_small(s[2 * i]), low = high < 0 ? -1 : hex_small(s[2 * i + 1]);
        if (low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
