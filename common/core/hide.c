/* Removes user names and passwords from URLs in a text. Thread: any. */
#include "common/core/hide.h"

#include <stdbool.h>
#include <string.h>

static bool ends_url(char c) {
    return (unsigned char)c <= ' ' || strchr("\"'<>`", c);
}

/* True if the URL was cut inside its user part: "joe:pa5" is one, while "host", "host:80" and "[::1]:80" are
 * complete. */
static bool is_cut_user(const char *p, const char *end) {
    const char *authority = p + strcspn(p, "/?#");
    if (authority < end) end = authority;
    const char *colon = *p == '[' ? NULL : memchr(p, ':', (size_t)(end - p));
    if (!colon) return false;
    size_t port = strspn(colon + 1, "0123456789");
    const char *after = colon + 1 + port;
    return after < end && !strchr(",;:)]}", *after); /* more text may follow: "https://host:80, …" */
}

void hide_users(char *text) {
    for (char *p = text; (p = strstr(p, "://"));) {
        p += strlen("://");
        char *end = p;
        while (*end && !ends_url(*end))
            end++;
        const char *at = memrchr(p, '@', (size_t)(end - p));
        char *rest = NULL;
        if (at)
            rest = p + (at + 1 - p);
        else if (is_cut_user(p, end))
            rest = end;
        if (rest) memmove(p, rest, strlen(rest) + 1);
    }
}
