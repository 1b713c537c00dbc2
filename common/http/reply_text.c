/* Short answers for a person. Thread: the request's loop. */
#include "common/http/server.h"

#include <string.h>

#include "common/core/alloc.h"

void http_reply_text(struct http_req *r, int status, const char *text) {
    _cleanup_(freep) char *line = xasprintf("%s\n", text);
    if (status == 503) http_reply_header(r, "Retry-After", "1");
    http_reply(r, status, "text/plain; charset=utf-8", line, strlen(line));
}
