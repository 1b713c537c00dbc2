/* Chunked bodies: what comes out may not depend on how the bytes were cut nor on how much the reader takes at a time,
 * and what is accepted as whole, Debian's http-parser accepts too and reads alike. */
#include "common/http/chunked.h"

#include <assert.h>
#include <http_parser.h>
#include <string.h>

struct result {
    ssize_t end; /* bytes consumed when done, 0: not done, -1: broken */
    size_t len;
    char *out;
};

/* Feeds step bytes at a time to a reader that takes at most take bytes of what it is given (0: all). */
static struct result decode(const char *raw, size_t size, size_t step, size_t take) {
    struct result r = {.out = malloc(size + 1)};
    struct chunked c;
    chunked_init(&c);
    size_t at = 0, have = 0;
    while (!c.done && at < size) {
        have = have < at + step ? (at + step < size ? at + step : size) : have;
        const char *part = NULL;
        size_t n = 0;
        ssize_t used = chunked_feed(&c, raw + at, have - at, &part, &n);
        if (used < 0) {
            r.end = -1;
            return r;
        }
        assert((size_t)used <= have - at && n <= (size_t)used && (used > 0 || c.done));
        size_t taken = take && n > take ? take : n;
        if (taken < n) {
            assert(part + n == raw + at + used); /* what is given back is at the end */
            chunked_give_back(&c, n - taken);
            used -= (ssize_t)(n - taken);
        }
        if (taken) memcpy(r.out + r.len, part, taken);
        r.len += taken;
        at += (size_t)used;
    }
    if (c.done) r.end = (ssize_t)at;
    return r;
}

static int on_body(http_parser *p, const char *at, size_t len) {
    struct result *r = p->data;
    memcpy(r->out + r->len, at, len);
    r->len += len;
    return 0;
}

static int on_end(http_parser *p) {
    ((struct result *)p->data)->end = 1;
    http_parser_pause(p, 1);
    return 0;
}

static void compare(const struct result *ours, const char *raw) {
    static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct result theirs = {.out = malloc((size_t)ours->end + 1)};
    http_parser p;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &theirs;
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_end;
    http_parser_execute(&p, &settings, head, sizeof(head) - 1);
    http_parser_execute(&p, &settings, raw, (size_t)ours->end);
    /* A trailer that is no header line is dropped by ours unread, as all trailers are. */
    if (theirs.end == 1 || HTTP_PARSER_ERRNO(&p) != HPE_INVALID_HEADER_TOKEN) {
        assert(theirs.end == 1);
        assert(theirs.len == ours->len && memcmp(theirs.out, ours->out, ours->len) == 0);
    }
    free(theirs.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4096) return 0;
    char *raw = malloc(size + 1);
    if (size) memcpy(raw, data, size);
    struct result whole = decode(raw, size, size + 1, 0);
    for (size_t take = 0; take < 4; take++) {
        struct result cut = decode(raw, size, 1 + take * 2, take);
        assert(cut.end == whole.end);
        if (whole.end >= 0) assert(cut.len == whole.len && memcmp(cut.out, whole.out, cut.len) == 0);
        free(cut.out);
    }
    if (whole.end > 0) compare(&whole, raw);
    free(whole.out);
    free(raw);
    return 0;
}
