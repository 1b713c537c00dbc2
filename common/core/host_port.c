/* Parses HOST:PORT. Thread: any. */
#include "common/core/host_port.h"

#include <string.h>

bool host_port_parse(struct host_port *out, const char *s) {
    const char *start = s, *colon;
    size_t len;
    out->bracketed = *s == '[';
    if (out->bracketed) {
        const char *close = strchr(s, ']');
        if (!close || (close[1] && close[1] != ':')) return false;
        start = s + 1;
        len = (size_t)(close - start);
        colon = close[1] ? close + 1 : NULL;
    } else {
        colon = strchr(s, ':');
        len = colon ? (size_t)(colon - s) : strlen(s);
    }
    if (len > HOST_PORT_HOST_MAX) return false;
    memcpy(out->host, start, len);
    out->host[len] = '\0';
    out->port = -1;
    if (!colon) return true;
    const char *digits = colon + 1;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 5 || digits[n]) return false;
    out->port = (int)strtol(digits, NULL, 10);
    return out->port <= 65535;
}
