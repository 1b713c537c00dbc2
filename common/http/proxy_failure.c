/* Messages for failures of a proxy. Thread: any. */
#include "common/http/proxy_failure.h"

#include "common/core/hide.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool proxy_answers_itself(int status, const char *content_type) {
    static const char page[] = "text/html";
    if (status == 407) return true;
    return status >= 400 && status != 404 && content_type && strncasecmp(content_type, page, strlen(page)) == 0;
}

void proxy_refusal_tell(const struct proxied_call *c, long status, char *msg, size_t cap) {
    if (status == 407)
        snprintf(msg, cap, "proxy %.100s %s (407)", c->proxy,
                 c->has_user ? "does not accept the user and password given" : "wants a password");
    else
        snprintf(msg, cap, "proxy %.100s answered %ld and does not lead to %.80s", c->proxy, status, c->place);
    hide_users(msg);
}

bool proxy_failure_tell(const struct proxied_call *c, CURLcode r, long os_error, const char *text, char *msg,
                        size_t cap) {
    switch (r) {
    case CURLE_OK:
    case CURLE_PARTIAL_FILE:
        return false;
    case CURLE_COULDNT_RESOLVE_PROXY:
        snprintf(msg, cap, "proxy %.150s: its name cannot be resolved", c->proxy);
        break;
    case CURLE_COULDNT_CONNECT:
        snprintf(msg, cap, "connect to proxy %.100s: %.100s", c->proxy,
                 os_error ? strerror((int)os_error) : "it cannot be reached");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        snprintf(msg, cap, "connect to %.100s by proxy %.100s: timed out", c->place, c->proxy);
        break;
    case CURLE_GOT_NOTHING:
        snprintf(msg, cap, "proxy %.100s closed the connection without an answer of %.100s", c->proxy, c->place);
        break;
    default:
        snprintf(msg, cap, "%.80s by proxy %.80s: %.80s", c->place, c->proxy, text);
    }
    hide_users(msg);
    return true;
}
