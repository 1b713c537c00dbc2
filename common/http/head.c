/* Request heads. What RFC 9112 lets a server be lenient about is refused here: bare LF, folded lines, space before the
 * colon, several lengths. Requests are smuggled where two parsers read one head differently. Thread: any. */
#include "common/http/head.h"

#include <string.h>
#include <strings.h>

enum { CLASS_TOKEN = 1, CLASS_VALUE = 2, CLASS_TARGET = 4 };

/* RFC 9110 5.6.2 token, field values (visible, space, tab, obs-text), request targets (visible ASCII). */
static unsigned char class_of(unsigned char c) {
    unsigned char k = 0;
    bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alnum || (c && strchr("!#$%&'*+-.^_`|~", c))) k |= CLASS_TOKEN;
    if ((c >= 0x20 && c != 0x7f) || c == '\t') k |= CLASS_VALUE;
    if (c > 0x20 && c < 0x7f) k |= CLASS_TARGET;
    return k;
}

static unsigned char classes[256];

__attribute__((constructor)) static void fill_classes(void) {
    for (unsigned c = 0; c < 256; c++)
        classes[c] = class_of((unsigned char)c);
}

static bool all_are(const char *s, size_t len, unsigned char class) {
    for (size_t i = 0; i < len; i++) {
        if (!(classes[(unsigned char)s[i]] & class)) return false;
    }
    return true;
}

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {{"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},      {"PUT", HTTP_PUT},
               {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS}};

static int refuse(int status, const char **why, const char *text) {
    *why = text;
    return -status;
}

/* "GET /target HTTP/1.1" in line[0, len). */
static int request_line(struct head *h, char *buf, size_t at, size_t len, const char **why) {
    char *line = buf + at, *end = line + len;
    char *space = memchr(line, ' ', len);
    if (!space || space == line || !all_are(line, (size_t)(space - line), CLASS_TOKEN))
        return refuse(400, why, "malformed request line");
    char *target = space + 1, *after = memchr(target, ' ', (size_t)(end - target));
    if (!after || after == target) return refuse(400, why, "malformed request line");
    if (after - target > HEAD_TARGET_MAX) return refuse(414, why, "request target too long");
    if (!all_are(target, (size_t)(after - target), CLASS_TARGET))
        return refuse(400, why, "request target holds bytes that must be encoded");
    if (end - after != 9 || memcmp(after + 1, "HTTP/", 5) != 0) return refuse(400, why, "malformed protocol version");
    const char *version = after + 6;
    if (memcmp(version, "1.1", 3) == 0)
        h->minor = 1;
    else if (memcmp(version, "1.0", 3) == 0)
        h->minor = 0;
    else
        return refuse(400, why, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    h->method = HTTP_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        size_t n = strlen(methods[i].name);
        if ((size_t)(space - line) == n && memcmp(line, methods[i].name, n) == 0) h->method = methods[i].method;
    }
    *space = *after = '\0';
    h->method_at = (uint32_t)at;
    h->target_at = (uint32_t)(target - buf);
    h->target_len = (uint32_t)(after - target);
    return 0;
}

/* "host", "host:port", "[v6]:port" in s[0, len): no user, nothing odd. */
static bool is_authority(const char *s, size_t len) {
    static const char host_bytes[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
    const char *end = s + len, *host_end;
    if (*s == '[') {
        host_end = s + 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        if (host_end == s + 1 || *host_end++ != ']') return false;
    } else {
        host_end = s + strspn(s, host_bytes);
        if (host_end == s) return false;
    }
    if (host_end == end) return true;
    return *host_end == ':' && host_end + 1 < end && host_end + 1 + strspn(host_end + 1, "0123456789") == end;
}

/* absolute-form ("http://host/path", RFC 9112 3.2.2) is reduced to its path; asterisk-form is only for OPTIONS. */
static int origin_form(struct head *h, char *buf, const char **why) {
    char *target = buf + h->target_at;
    if (memchr(target, '#', h->target_len)) return refuse(400, why, "request target holds a fragment");
    if (target[0] == '/') return 0;
    if (target[0] == '*' && h->target_len == 1 && h->method == HTTP_OPTIONS) return 0;
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    char *path = scheme ? strchr(target + scheme, '/') : NULL;
    if (!path || !is_authority(target + scheme, (size_t)(path - target) - scheme))
        return refuse(400, why, "request target must be a path");
    h->target_len -= (uint32_t)(path - target);
    h->target_at = (uint32_t)(path - buf);
    return 0;
}

static int field_line(struct head *h, char *buf, size_t at, size_t len, const char **why) {
    char *line = buf + at, *end = line + len;
    if (line[0] == ' ' || line[0] == '\t') return refuse(400, why, "folded header lines are not accepted");
    char *colon = memchr(line, ':', len);
    if (!colon || colon == line) return refuse(400, why, "malformed header line");
    if (!all_are(line, (size_t)(colon - line), CLASS_TOKEN)) return refuse(400, why, "malformed header name");
    char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!all_are(value, (size_t)(end - value), CLASS_VALUE)) return refuse(400, why, "malformed header value");
    if (h->n_fields == HEAD_HEADERS_MAX) return refuse(431, why, "too many header lines");
    h->fields[h->n_fields++] = (struct head_field){
        .name = (uint32_t)at,
        .name_len = (uint32_t)(colon - line),
        .value = (uint32_t)(value - buf),
        .value_len = (uint32_t)(end - value),
    };
    /* The bytes overwritten are the colon and the line's CR or trailing blank. */
    *colon = '\0';
    *end = '\0';
    return 0;
}

/* Digits only, fitting in 63 bits. */
static bool parse_length(const char *s, int64_t *out) {
    int64_t n = 0;
    if (!*s) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || n > (INT64_MAX - 9) / 10) return false;
        n = n * 10 + (*s - '0');
    }
    *out = n;
    return true;
}

/* True if the comma-separated list has that token. */
static bool list_has(const char *list, const char *token) {
    size_t n = strlen(token);
    while (*list) {
        while (*list == ' ' || *list == '\t' || *list == ',')
            list++;
        const char *end = strchrnul(list, ',');
        size_t len = (size_t)(end - list);
        while (len && (list[len - 1] == ' ' || list[len - 1] == '\t'))
            len--;
        if (len == n && strncasecmp(list, token, n) == 0) return true;
        list = end;
    }
    return false;
}

/* 0: chunked; else the status of a refusal. Whatever may leave another server in doubt about where the body ends is
 * 400: chunked that is not the last, or comes twice, or has parameters. */
static int coding(const char *list) {
    bool chunked = false, unknown = false;
    do {
        size_t len = strcspn(list, ",");
        const char *next = list[len] ? list + len + 1 : NULL;
        while (len && (*list == ' ' || *list == '\t'))
            list++, len--;
        while (len && (list[len - 1] == ' ' || list[len - 1] == '\t'))
            len--;
        if (len == 0 || chunked || !all_are(list, len, CLASS_TOKEN)) return 400;
        if (len == strlen("chunked") && strncasecmp(list, "chunked", len) == 0)
            chunked = true;
        else
            unknown = true;
        list = next;
    } while (list);
    return unknown ? 501 : 0;
}

struct seen {
    unsigned hosts, codings, expects;
};

/* The lengths of the names that matter there: comparing all took a sixth of the parsing. */
#define FRAMING_LENGTHS (1U << 4 | 1U << 6 | 1U << 10 | 1U << 14 | 1U << 17)
#define FRAMING_LENGTH_MAX 17

static bool may_frame(const struct head_field *f) {
    return f->name_len <= FRAMING_LENGTH_MAX && (FRAMING_LENGTHS >> f->name_len & 1);
}

/* What one field means for the framing of the request. */
static int framing_field(struct head *h, const char *name, const char *value, struct seen *seen, const char **why) {
    if (strcasecmp(name, "host") == 0) {
        if (++seen->hosts > 1 || strpbrk(value, " \t,/@")) return refuse(400, why, "one well-formed Host is needed");
    } else if (strcasecmp(name, "content-length") == 0) {
        if (h->content_length >= 0 || !parse_length(value, &h->content_length))
            return refuse(400, why, "bad Content-Length");
    } else if (strcasecmp(name, "transfer-encoding") == 0) {
        if (h->minor == 0 || ++seen->codings > 1) return refuse(400, why, "bad Transfer-Encoding");
        int status = coding(value);
        if (status)
            return refuse(status, why, status == 501 ? "transfer coding not known here" : "bad Transfer-Encoding");
        h->chunked = true;
    } else if (strcasecmp(name, "connection") == 0) {
        if (list_has(value, "close"))
            h->keep_alive = false;
        else if (h->minor == 0 && list_has(value, "keep-alive"))
            h->keep_alive = true;
    } else if (strcasecmp(name, "expect") == 0 && h->minor == 1) {
        if (strcasecmp(value, "100-continue") != 0 || ++seen->expects > 1)
            return refuse(417, why, "expectation not known here");
        h->expect_continue = true;
    }
    return 0;
}

static int framing(struct head *h, const char *buf, const char **why) {
    struct seen seen = {0};
    bool closing = false;
    h->keep_alive = h->minor == 1;
    h->content_length = -1;
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (!may_frame(&h->fields[i])) continue;
        int r = framing_field(h, buf + h->fields[i].name, buf + h->fields[i].value, &seen, why);
        if (r < 0) return r;
        if (!h->keep_alive && h->minor == 1) closing = true;
    }
    if (closing) h->keep_alive = false;
    if (h->chunked && h->content_length >= 0) return refuse(400, why, "both Content-Length and Transfer-Encoding");
    if (h->minor == 1 && seen.hosts == 0) return refuse(400, why, "Host is missing");
    return 0;
}

/* The end of the head: just after the first CRLF CRLF, 0 if it is not there yet. A LF without CR before it, or a CR
 * without LF after it, is refused at once. */
static ssize_t find_end(const char *buf, size_t start, size_t len, size_t *scanned, const char **why) {
    size_t i = *scanned > start ? *scanned : start;
    for (;;) {
        const char *lf = memchr(buf + i, '\n', len - i);
        if (!lf) {
            *scanned = len;
            return 0;
        }
        size_t at = (size_t)(lf - buf);
        if (at == start || buf[at - 1] != '\r') return refuse(400, why, "a line does not end with CR LF");
        if (at >= start + 3 && buf[at - 2] == '\n') return (ssize_t)at + 1;
        i = at + 1;
    }
}

static int parse_lines(struct head *h, char *buf, size_t start, size_t end, const char **why) {
    bool first = true;
    for (size_t at = start; at < end - 2;) {
        char *lf = memchr(buf + at, '\n', end - at);
        size_t len = (size_t)(lf - (buf + at)) - 1;
        if (memchr(buf + at, '\r', len)) return refuse(400, why, "a CR stands alone");
        int r = first ? request_line(h, buf, at, len, why) : field_line(h, buf, at, len, why);
        if (r < 0) return r;
        first = false;
        at = (size_t)(lf - buf) + 1;
    }
    int r = origin_form(h, buf, why);
    return r < 0 ? r : framing(h, buf, why);
}

ssize_t head_parse(struct head *h, char *buf, size_t len, size_t *scanned, const char **why) {
    size_t start = 0;
    while (start < 4 && start + 1 < len && buf[start] == '\r' && buf[start + 1] == '\n')
        start += 2;
    if (start < len && buf[start] == '\r' && start + 1 == len) return 0;
    if (start == len) return 0;
    if (!(classes[(unsigned char)buf[start]] & CLASS_TOKEN)) return refuse(400, why, "malformed request line");
    ssize_t end = find_end(buf, start, len, scanned, why);
    if (end <= 0) return end;
    h->n_fields = 0;
    h->chunked = h->expect_continue = false;
    int r = parse_lines(h, buf, start, (size_t)end, why);
    return r < 0 ? r : end;
}

const struct head_field *head_find(const struct head *h, const char *buf, const char *name) {
    size_t n = strlen(name);
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (h->fields[i].name_len == n && strncasecmp(buf + h->fields[i].name, name, n) == 0) return &h->fields[i];
    }
    return NULL;
}
