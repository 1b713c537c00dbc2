/* Makes callers from ports and addresses. Thread: any. */
#include "common/access/caller.h"

#include "common/core/map.h"
#include "common/http/server.h"
#include "common/wire/node_headers.h"

#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct caller) ==
                   sizeof(enum caller_kind) + sizeof(struct ip) + sizeof(uint32_t) + CALLER_NAME_MAX,
               "its bytes are compared");

void caller_set(struct caller *out, enum caller_kind kind, const struct ip *ip) {
    *out = (struct caller){.kind = kind, .who = ip_client_prefix(ip)};
}

void caller_of_peer(struct caller *out, enum caller_kind kind, const struct http_req *req) {
    struct ip peer;
    *out = (struct caller){.kind = kind};
    const struct http_peer *certified = http_req_certified(req);
    size_t len = certified ? strlen(certified->name) : 0;
    if (len > 0 && len < sizeof(out->name))
        memcpy(out->name, certified->name, len);
    else if (http_req_peer(req, &peer))
        caller_set(out, kind, &peer);
}

void caller_of_node(struct caller *out, const struct http_req *req) {
    caller_of_peer(out, CALLER_NODE, req);
    out->client = client_header_parse(http_req_header(req, CLIENT_HEADER));
}

struct caller caller_node(const struct caller *c) {
    struct caller node = *c;
    node.client = 0;
    return node;
}

uint32_t caller_as_client(const struct caller *c) {
    return (uint32_t)caller_number(c);
}

uint64_t caller_number(const struct caller *c) {
    return c->kind == CALLER_SELF ? 0 : map_hash(c, sizeof(*c)) | 1;
}

const char *caller_text(const struct caller *c, char out[CALLER_TEXT_MAX]) {
    static const struct ip nowhere;
    char text[IP_TEXT_MAX];
    if (c->name[0])
        snprintf(out, CALLER_TEXT_MAX, "%sedge %s", c->client ? "a client of " : "", c->name);
    else if (memcmp(&c->who, &nowhere, sizeof(nowhere)) == 0)
        snprintf(out, CALLER_TEXT_MAX, "this node");
    else
        snprintf(out, CALLER_TEXT_MAX, "%s%s%s", c->client ? "a client of " : "", ip_text(&c->who, text),
                 ip_is_v4(&c->who) ? "" : "/64");
    return out;
}
