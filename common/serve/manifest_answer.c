/* Answers requests for manifests: by digest as blobs, by tag with what the tag points to. Thread: serving loop. */
#include "common/serve/serve_private.h"

#include "common/core/clock.h"
#include "common/store/tag.h"

#include <stdio.h>

static void point_to(struct exchange *x, const struct tag_facts *rec) {
    int64_t age = clock_wall_s() - rec->checked_at;
    x->ref = (struct reference){.is_digest = true, .digest = rec->digest};
    x->age_s = age > 0 ? age : 0;
}

/* promised: its source has just named this manifest. */
static void serve_tagged(struct exchange *x, const struct tag_facts *rec, bool promised) {
    struct registry *g = x->registry;
    struct blob_info info;
    point_to(x, rec);
    bool held = store_lookup_in(g->cfg.store, &rec->digest, x->scope, &info);
    /* A HEAD is answered by what the source said. */
    if (x->is_head && !held && promised && rec->size > 0 && rec->media_type[0] && !serve_is_hosted(x))
        body_head_unheld(x, "", rec->size, rec->media_type);
    else
        serve_content(x);
}

static void warn(struct exchange *x, const char *text) {
    snprintf(x->warning, sizeof(x->warning), "299 - \"%.256s\"", text);
    for (char *p = x->warning + 7; *p; p++) {
        if ((*p == '"' && p[1]) || *p == '\\') *p = '\'';
    }
}

bool serve_last_held(struct exchange *x, const struct fetch_end *why) {
    struct registry *g = x->registry;
    const struct tag_facts said = {.digest = x->ref.digest};
    char warning[256];
    if (!x->has_last || why->code == ERR_OUTDATED) return false; /* it may belong to another repository */
    x->has_last = false;
    if (!tag_last_is_held(g, &x->last.digest, &x->repo)) return false;
    tag_say_moved(&said, why->msg, warning, sizeof(warning));
    warn(x, warning);
    atomic_fetch_add_explicit(&g->stale, 1, memory_order_relaxed);
    point_to(x, &x->last);
    serve_content(x);
    return true;
}

static void on_resolved(const struct tag_answer *a, void *arg) {
    struct exchange *x = arg;
    if (!exchange_back(x)) return;
    if (a->code != 0) {
        serve_fetch_end(x->req, &a->end, REGERR_MANIFEST_UNKNOWN);
        return;
    }
    if (a->facts.warning[0]) warn(x, a->facts.warning);
    x->has_last = a->has_last;
    if (a->has_last) x->last = a->last;
    serve_tagged(x, &a->facts, !a->facts.stale && !a->has_failed);
}

void serve_manifest(struct exchange *x) {
    struct registry *g = x->registry;
    x->is_manifest = true;
    if (x->ref.is_digest) {
        serve_content(x);
        return;
    }
    /* The common case, answered directly: known, fresh and held. */
    struct tag_facts rec;
    int64_t fresh_ms = g->cfg.policy->fresh_for_ms(&x->repo, g->cfg.policy->arg);
    struct tag_facts said;
    bool known = store_tag_get(g->cfg.store, x->repo_str, x->ref.tag, &rec);
    bool told = tag_is_told(g, &x->repo, x->settings, x->ref.tag, &said);
    if (known && (told ? !tag_is_news(&rec, &said) : tag_is_fresh(&rec, fresh_ms))) {
        const struct policy *p = g->cfg.policy;
        if (p->tag_asked) p->tag_asked(&x->repo, x->ref.tag, &rec, p->arg);
        serve_tagged(x, &rec, true);
        return;
    }
    x->waiting = true;
    struct deadline deadline = exchange_deadline(x);
    registry_resolve_tag(g, &x->caller, &x->repo, x->settings, x->ref.tag, http_req_id(x->req), &deadline, on_resolved,
                         x);
}
