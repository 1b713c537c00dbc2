/* Versions of settings as text. Thread: any. */
#include "common/wire/node_headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *settings_header_format(uint64_t version, char out[17]) {
    snprintf(out, 17, "%016" PRIx64, version);
    return out;
}

uint64_t settings_header_parse(const char *value) {
    static const char digits[] = "0123456789abcdef";
    uint64_t version = 0;
    if (!value || strlen(value) != 16) return 0;
    for (; *value; value++) {
        const char *digit = strchr(digits, *value);
        if (!digit) return 0;
        version = version << 4 | (uint64_t)(digit - digits);
    }
    return version;
}
