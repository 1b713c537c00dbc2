/* The head of an answer that carries content under a digest. Thread: serving loop. */
#include "common/serve/content_head.h"

#include <stdio.h>
#include <string.h>

static void cache_status(struct exchange *x, const struct origin *from) {
    if (!from->source) {
        http_reply_lines(x->req, x->registry->hit_line, x->registry->hit_line_len);
        return;
    }
    bool known = from->source[0] != '\0';
    http_reply_headerf(x->req, "Cache-Status", "%s; fwd=miss%s%s%s%s", x->registry->cfg.name,
                       from->joined ? "; collapsed" : "", known ? "; detail=\"" : "", from->source, known ? "\"" : "");
}

void content_etag(const struct exchange *x, struct etag *etag) {
    etag->text[0] = '"';
    digest_str(&x->ref.digest, etag->text + 1);
    memcpy(etag->text + strlen(etag->text), "\"", 2);
}

void content_fields(struct exchange *x, const struct origin *from, const struct etag *etag) {
    static const char accept[] = "Accept-Ranges: bytes\r\n",
                      lasting[] = "Accept-Ranges: bytes\r\nCache-Control: max-age=31536000, immutable\r\n";
    char digest[DIGEST_STR_MAX];
    size_t n = strlen(etag->text) - 2;
    memcpy(digest, etag->text + 1, n);
    digest[n] = '\0';
    serve_common_headers(x);
    http_reply_header(x->req, "Docker-Content-Digest", digest);
    http_reply_header(x->req, "ETag", etag->text);
    if (x->is_manifest)
        http_reply_lines(x->req, accept, sizeof(accept) - 1);
    else
        http_reply_lines(x->req, lasting, sizeof(lasting) - 1);
    cache_status(x, from);
}

bool content_settled_by_conditions(struct exchange *x, const struct origin *from, const struct etag *etag) {
    struct http_req *req = x->req;
    if (!http_if_match(http_req_header(req, "if-match"), etag->text)) {
        serve_error_status(req, 412, REGERR_UNKNOWN, "the content is not what If-Match asks for");
        return true;
    }
    if (!http_if_none_match(http_req_header(req, "if-none-match"), etag->text)) return false;
    content_fields(x, from, etag);
    http_reply(req, 304, NULL, NULL, 0);
    return true;
}

const char *content_range_asked(const struct exchange *x, const struct etag *etag) {
    const char *range = x->is_head ? NULL : http_req_header(x->req, "range");
    return range && http_if_range(http_req_header(x->req, "if-range"), etag->text) ? range : NULL;
}

int content_part_head(const struct exchange *x, const struct content_part *p, char *out, size_t cap) {
    return snprintf(out, cap, "%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %lld-%lld/%lld\r\n\r\n",
                    p->first ? "" : "\r\n", x->registry->boundary, p->media_type, (long long)p->range.start,
                    (long long)p->range.end - 1, (long long)p->size);
}

int content_parts_end(const struct exchange *x, char *out, size_t cap) {
    return snprintf(out, cap, "\r\n--%s--\r\n", x->registry->boundary);
}
