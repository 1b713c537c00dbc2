/* Finds and replaces control characters. Thread: any. */
#include "common/core/printable.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool is_between(unsigned char c, unsigned char low, unsigned char high) {
    return c >= low && c <= high;
}

/* Bytes of the control character at s; 0: it is none. */
static size_t control_len(const unsigned char *s) {
    if (s[0] < 0x20 || s[0] == 0x7f) return 1;
    if (s[0] == 0xc2 && is_between(s[1], 0x80, 0x9f)) return 2;
    if (s[0] != 0xe2) return 0;
    bool marks = s[1] == 0x80 && (is_between(s[2], 0x8e, 0x8f) || is_between(s[2], 0xaa, 0xae));
    bool isolates = s[1] == 0x81 && is_between(s[2], 0xa6, 0xa9);
    return marks || isolates ? 3 : 0;
}

char *text_make_printable(char *s) {
    char *to = s;
    for (const char *from = s; *from;) {
        size_t n = control_len((const unsigned char *)from);
        *to++ = n == 0 ? *from : strchr("\t\r\n", *from) ? ' ' : '?';
        from += n ? n : 1;
    }
    *to = '\0';
    return s;
}
