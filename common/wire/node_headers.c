/* Versions of settings, and clients, as text. Thread: any. */
#include "common/wire/node_headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *settings_header_format(uint64_t version, char out[17]) {
    snprintf(out, 17, "%016" PRIx64, version);
    return out;
}

char *client_header_format(uint32_t client, char out[CLIENT_HEADER_MAX]) {
    snprintf(out, CLIENT_HEADER_MAX, CLIENT_HEADER ": %08" PRIx32, client);
    return out;
}

/* So many hexadecimal digits and nothing else; 0 if they are not. */
static uint64_t hex_parse(const char *value, size_t n_digits) {
    static const char digits[] = "0123456789abcdef";
    uint64_t number = 0;
    if (!value || strlen(value) != n_digits) return 0;
    for (; *value; value++) {
        const char *digit = strchr(digits, *value);
        if (!digit) return 0;
        number = number << 4 | (uint64_t)(digit - digits);
    }
    return number;
}

uint64_t settings_header_parse(const char *value) {
    return hex_parse(value, 16);
}

uint32_t client_header_parse(const char *value) {
    return (uint32_t)hex_parse(value, 8);
}
