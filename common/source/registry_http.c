/* Requests and answers of the registry API as sources see them. Thread: any. */
#include "common/source/registry_http.h"

#include "common/http/http_status.h"
#include "common/core/clock.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define RETRY_AFTER_MAX_S 86400
#define AGE_MAX_S 86400
#define SHOWN_MAX 160

int fetch_target(struct buf *out, const struct fetch_request *rq, bool canonical) {
    char repo[REPO_STR_MAX], ref[DIGEST_STR_MAX];
    const char *name = canonical ? repo_name_str(&rq->repo, repo) : rq->repo.path;
    switch (rq->kind) {
    case FETCH_BLOB:
    case FETCH_BLOB_HEAD:
        return buf_printf(out, "/v2/%s/blobs/%s", name, reference_str(&rq->ref, ref));
    case FETCH_MANIFEST:
    case FETCH_MANIFEST_HEAD:
        return buf_printf(out, "/v2/%s/manifests/%s", name, reference_str(&rq->ref, ref));
    case FETCH_TAGS:
        return buf_printf(out, "/v2/%s/tags/list%s%s", name, rq->query ? "?" : "", rq->query ? rq->query : "");
    case FETCH_REFERRERS:
        return buf_printf(out, "/v2/%s/referrers/%s%s%s", name, reference_str(&rq->ref, ref), rq->query ? "?" : "",
                          rq->query ? rq->query : "");
    }
    return ERR_INVALID;
}

/* Digits only, no sign, no overflow. */
static bool number(const char **p, int64_t *out) {
    if (!isdigit((unsigned char)**p)) return false;
    int64_t n = 0;
    for (; isdigit((unsigned char)**p); (*p)++) {
        if (n > (INT64_MAX - 9) / 10) return false;
        n = n * 10 + (**p - '0');
    }
    *out = n;
    return true;
}

int64_t content_range_size(const char *value) {
    int64_t size;
    if (!value || strncmp(value, "bytes */", 8) != 0) return -1;
    const char *p = value + 8;
    return number(&p, &size) && *p == '\0' ? size : -1;
}

/* "Content-Range: bytes 5-9/100". False if it is not of that form; *total -1 for "*". */
static bool content_range_parse(const char *value, int64_t *start, int64_t *end, int64_t *total) {
    if (!value || strncmp(value, "bytes ", 6) != 0) return false;
    const char *p = value + 6;
    int64_t last;
    if (!number(&p, start) || *p++ != '-' || !number(&p, &last) || *p++ != '/' || last < *start) return false;
    if (last >= BLOB_SIZE_MAX) return false;
    *end = last + 1;
    *total = -1;
    if (*p == '*') return p[1] == '\0';
    return number(&p, total) && *p == '\0' && *total >= *end;
}

/* The three forms of RFC 9110 section 5.6.7; -1: none of them. */
static int64_t date_parse(const char *value) {
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %d %H:%M:%S %Y"};
    for (size_t i = 0; value && i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        if (strptime(value, forms[i], &tm)) return (int64_t)timegm(&tm);
    }
    return -1;
}

int64_t answer_date_s(const struct http_answer *a) {
    int64_t date = date_parse(a->header(a, "date"));
    return date > 0 ? date : clock_wall_s();
}

/* As a number of seconds, or as an HTTP date. */
static int64_t retry_after_parse(const char *value, int64_t date_s) {
    if (!value) return 0;
    while (*value == ' ')
        value++;
    const char *p = value;
    int64_t seconds = 0;
    if (!number(&p, &seconds) || *p) {
        int64_t when = date_parse(value);
        seconds = when > 0 ? when - date_s : 0;
    }
    if (seconds < 0) return 0;
    return seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds;
}

int64_t answer_retry_after_s(const struct http_answer *a) {
    return retry_after_parse(a->header(a, "retry-after"), answer_date_s(a));
}

/* The first message of a registry error document; "" if there is none. */
static void message_of(const char *body, size_t len, char out[SHOWN_MAX]) {
    out[0] = '\0';
    json_t *doc = body ? json_loadb(body, len, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(json_array_get(json_object_get(doc, "errors"), 0), "message"));
    if (text) snprintf(out, SHOWN_MAX, "%s", text);
    json_decref(doc);
}

/* A source that refuses our request as malformed, or as out of turn, has failed: what clients asked for was right. */
static int code_of(int status) {
    int code = http_status_error(status);
    return code == ERR_INVALID || code == ERR_BUSY ? ERR_UPSTREAM : code;
}

void fetch_end_from_status(struct fetch_end *e, const char *who, int status, int64_t retry_after_s, const char *body,
                           size_t len) {
    char shown[SHOWN_MAX];
    message_of(body, len, shown);
    fetch_end_set(e, code_of(status), "%s answered %d%s%s", who, status, shown[0] ? ": " : "", shown);
    e->status = status;
    e->retry_after_s = retry_after_s;
}

void fetch_end_from_node_status(struct fetch_end *e, const char *who, int status, int64_t retry_after_s,
                                const char *body, size_t len) {
    fetch_end_from_status(e, who, status, retry_after_s, body, len);
    if (status == 400) e->code = ERR_INVALID;
    if (status == 503 && retry_after_s > 0) e->code = ERR_BUSY;
}

/* Seconds; 0: none, or no number. */
static int64_t age_parse(const char *value) {
    int64_t age = 0;
    if (!value || !number(&value, &age) || *value) return 0;
    return age > AGE_MAX_S ? AGE_MAX_S : age;
}

static int unacceptable(struct fetch_end *e, const char *who, int status, const char *what) {
    fetch_end_set(e, ERR_UPSTREAM, "%.100s %s", who, what);
    e->status = status;
    return e->code;
}

/* The part that came, [start, stop) of total; NULL if it is the one that was asked for. */
static const char *wrong_part(const struct http_answer *a, int64_t offset, int64_t length, int64_t *total) {
    int64_t start, stop;
    if (offset == 0 && length == 0) return "sent a part where all was asked for";
    if (!content_range_parse(a->header(a, "content-range"), &start, &stop, total))
        return "sent a part without saying which";
    if (start != offset || (length > 0 && stop > offset + length)) return "sent another part than was asked for";
    if (a->content_length >= 0 && a->content_length != stop - start)
        return "sent a part whose length is not what it says";
    int64_t want = length > 0 ? offset + length : *total;
    if (*total >= 0 && want > *total) want = *total;
    return want >= 0 && stop != want ? "sent less than the part that was asked for" : NULL;
}

int fetch_head_from_answer(struct fetch_head *h, int64_t *skip, struct fetch_end *e, const char *who,
                           const struct http_answer *a, int64_t offset, int64_t length) {
    const char *encoding = a->header(a, "content-encoding"), *type = a->header(a, "content-type");
    const char *digest = a->header(a, "docker-content-digest"), *age = a->header(a, "age");
    *h = (struct fetch_head){.total = a->content_length,
                             .link = a->header(a, "link"),
                             .warning = a->header(a, "warning"),
                             .filters = a->header(a, "oci-filters-applied")};
    *skip = 0;
    const char *wrong = NULL;
    if (encoding && *encoding && strcasecmp(encoding, "identity") != 0) {
        wrong = "sent an encoded body, which breaks its digest";
    } else if (a->status == 206) {
        wrong = wrong_part(a, offset, length, &h->total);
    } else if (offset > 0) {
        if (h->total >= 0 && h->total < offset) wrong = "has less than it was asked to continue";
        *skip = offset;
    }
    if (!wrong && h->total > BLOB_SIZE_MAX) wrong = "tells a length that no blob has";
    if (wrong) return unacceptable(e, who, a->status, wrong);
    media_type_clean(type ? type : "", h->media_type);
    h->has_digest = digest && digest_parse(&h->digest, digest, strlen(digest)) == 0;
    h->age_s = age_parse(age);
    return 0;
}
