/* Hexadecimal digits. Thread: any. */
#ifndef ENTREPOT_CORE_HEX_H
#define ENTREPOT_CORE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 to 15, or -1: c is no digit. What we write ourselves has small letters only; others may write capitals. */
static inline int hex_small(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
static inline int hex_any(char c) {
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : hex_small(c);
}

/* Writes two small digits for each of the n bytes, and a NUL: out has 2 * n + 1 bytes. */
void hex_write(const void *bytes, size_t n, char *out);
/* Reads n bytes from 2 * n small digits; s may end earlier by a NUL. False: something else stands there, and out may
 * have changed. */
bool hex_read(const char *s, size_t n, uint8_t *out);

#endif
