/* Request heads: what our parser takes, Debian's http-parser (an independent one) takes too and reads alike: same
 * length, same framing. The reverse does not hold: ours refuses more. Known exceptions, where http-parser is the
 * stricter: it knows only the methods of its list, it wants "Connection: upgrade" and CONNECT handled its own way, and
 * it takes a field whose name only begins with Transfer-Encoding for a second Transfer-Encoding.
 */
#include "common/http/chunked.h"
#include "common/http/head.h"

#include <assert.h>
/* Both call their methods the same. */
#define http_method their_method
#define HTTP_GET THEIR_GET
#define HTTP_HEAD THEIR_HEAD
#define HTTP_POST THEIR_POST
#define HTTP_PUT THEIR_PUT
#define HTTP_PATCH THEIR_PATCH
#define HTTP_DELETE THEIR_DELETE
#define HTTP_OPTIONS THEIR_OPTIONS
#include <http_parser.h>
#undef http_method
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct theirs {
    bool complete;
    size_t target_len;
};

static int on_url(http_parser *p, const char *at, size_t len) {
    (void)at;
    ((struct theirs *)p->data)->target_len += len;
    return 0;
}

static int on_head(http_parser *p) {
    ((struct theirs *)p->data)->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static bool begins_with_coding(const struct head *h, const char *buf) {
    static const char name[] = "transfer-encoding";
    for (unsigned i = 0; i < h->n_fields; i++) {
        bool longer = h->fields[i].name_len > sizeof(name) - 1;
        if (longer && strncasecmp(buf + h->fields[i].name, name, sizeof(name) - 1) == 0) return true;
    }
    return false;
}

static bool excepted(const struct head *h, const char *buf) {
    return (h->method == HTTP_OTHER) || head_find(h, buf, "upgrade") || head_find(h, buf, "connection") ||
           head_find(h, buf, "proxy-connection") || begins_with_coding(h, buf);
}

static void compare(const struct head *h, const char *buf, const char *raw, size_t used) {
    struct theirs t = {0};
    http_parser p;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &t;
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_headers_complete = on_head;
    http_parser_execute(&p, &settings, raw, used);
    enum http_errno e = HTTP_PARSER_ERRNO(&p);
    if (excepted(h, buf) && !t.complete) return;
    if (!t.complete) fprintf(stderr, "http-parser refuses: %s\n", http_errno_description(e));
    assert(t.complete);
    assert(t.target_len >= h->target_len);
    assert(p.http_major == 1 && p.http_minor == h->minor);
    assert(h->content_length < 0 ? p.content_length == UINT64_MAX || p.content_length == 0
                                 : p.content_length == (uint64_t)h->content_length);
    if (!begins_with_coding(h, buf)) assert(((p.flags & F_CHUNKED) != 0) == h->chunked);
}

/* The verdict may not depend on how the bytes were cut. */
static void feed_slowly(const char *raw, size_t size, ssize_t verdict) {
    char *buf = malloc(size + 1);
    size_t scanned = 0;
    const char *why = "";
    struct head h;
    ssize_t got = 0;
    for (size_t n = 1; n <= size && got == 0; n++) {
        memcpy(buf + n - 1, raw + n - 1, 1);
        got = head_parse(&h, buf, n, &scanned, &why);
    }
    assert(verdict <= 0 ? (got <= 0) : got == verdict);
    free(buf);
}

static void chunks(const char *raw, size_t size) {
    struct chunked c;
    chunked_init(&c);
    for (size_t at = 0; at < size && !c.done;) {
        const char *part = NULL;
        size_t n = 0;
        ssize_t used = chunked_feed(&c, raw + at, size - at, &part, &n);
        if (used < 0) return;
        assert((size_t)used <= size - at && n <= (size_t)used);
        at += (size_t)used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 16384) return 0;
    char *raw = malloc(size + 1), *buf = malloc(size + 1);
    if (size) memcpy(raw, data, size);
    memcpy(buf, raw, size);
    struct head h;
    size_t scanned = 0;
    const char *why = NULL;
    ssize_t n = head_parse(&h, buf, size, &scanned, &why);
    if (n > 0) {
        assert((size_t)n <= size && buf[h.target_at + h.target_len] == '\0');
        assert(strlen(buf + h.target_at) == h.target_len);
        for (unsigned i = 0; i < h.n_fields; i++) {
            assert(strlen(buf + h.fields[i].name) == h.fields[i].name_len);
            assert(strlen(buf + h.fields[i].value) == h.fields[i].value_len);
        }
        assert(!(h.chunked && h.content_length >= 0));
        compare(&h, buf, raw, (size_t)n);
        chunks(raw + n, size - (size_t)n);
    } else if (n < 0) {
        assert(why && (n == -400 || n == -414 || n == -417 || n == -431 || n == -501));
    }
    if (size < 2048) feed_slowly(raw, size, n);
    free(raw);
    free(buf);
    return 0;
}
