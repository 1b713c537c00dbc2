/* Resolves the image, and asks of each edge what it holds of it. Thread: see where.h. */
#include "central/reports/where.h"

#include "central/catalog/catalogue_part.h"
#include "central/reports/image_parts.h"
#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"
#include "common/oci/name.h"
#include "common/store/tag.h"

#include <stdlib.h>
#include <string.h>

/* --- which image --- */

static int find_tag(const struct node *n, const char *name, const char *tag, struct digest *out, struct error *err) {
    char repo[REPO_STR_MAX];
    struct tag_facts facts;
    int r = registry_canonical(n->registry, name, repo);
    if (r < 0) return error_set(err, ERR_INVALID, "%.300s names no repository that central knows", name);
    if (store_tag_get(n->store, repo, tag, &facts)) {
        *out = facts.digest;
        return 0;
    }
    error_set(err, ERR_NOT_FOUND, "central does not know the tag %.128s of %.300s", tag, repo);
    error_hint(err, "`entrepot-central ls %.300s` lists those it knows; an image can also be named by its digest",
               repo);
    return ERR_NOT_FOUND;
}

static int find_digest(const struct node *n, const char *image, struct digest *out, struct error *err) {
    char name[REPO_STR_MAX];
    struct reference ref;
    if (digest_parse(out, image, strlen(image)) == 0) return 0;
    int r = image_ref_parse(image, name, &ref, err);
    if (r < 0) return r;
    *out = ref.digest;
    return ref.is_digest ? 0 : find_tag(n, name, ref.tag, out, err);
}

/* --- who holds it --- */

struct answer {
    const struct where *where;
    const struct image_parts *parts;
    json_t *edges;
};

static bool is_whole(const struct image_platform *p, const bool *has) {
    for (size_t i = 0; i < p->n; i++)
        if (!has[p->blobs[i]]) return false;
    return p->known;
}

static json_t *held_json(const struct image_parts *p, const bool *has) {
    json_t *platforms = json_array();
    int64_t blobs = 0, size = 0;
    bool whole = false;
    for (size_t i = 0; i < p->n; i++) {
        blobs += has[i];
        if (has[i] && p->sizes[i] > 0) size += p->sizes[i];
    }
    for (size_t i = 0; i < p->n_platforms; i++) {
        if (!is_whole(&p->platforms[i], has)) continue;
        whole = true;
        if (p->platforms[i].name[0]) json_array_append_new(platforms, json_string(p->platforms[i].name));
    }
    return json_pack("{s:b, s:o, s:I, s:I}", "whole", whole, "platforms", platforms, "blobs", (json_int_t)blobs, "size",
                     (json_int_t)size);
}

static void on_holder(const struct holder *e, const bool *has, void *arg) {
    struct answer *a = arg;
    json_t *j = held_json(a->parts, has);
    json_object_set_new(j, "edge", json_string(holder_name(e)));
    json_object_set_new(j, "site", json_string(holder_site(e)));
    json_array_append_new(a->edges, j);
}

static const char *text_of(const json_t *j, const char *key) {
    return json_string_value(json_object_get(j, key));
}

static int by_site(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int order = strcmp(text_of(x, "site"), text_of(y, "site"));
    return order ? order : strcmp(text_of(x, "edge"), text_of(y, "edge"));
}

/* Those of the fleet, in order; the list is taken. */
static json_t *sorted(struct roster *roster, json_t *edges) {
    size_t n = json_array_size(edges);
    json_t **list = xcalloc(n + 1, sizeof(json_t *)), *all = json_array();
    for (size_t i = 0; i < n; i++)
        list[i] = json_array_get(edges, i);
    qsort(list, n, sizeof(json_t *), by_site);
    for (size_t i = 0; i < n; i++) {
        struct edge_facts f;
        if (!roster_get(roster, text_of(list[i], "edge"), &f) || f.state == EDGE_REMOVED) continue;
        json_object_set_new(list[i], "state", json_string(edge_state_word(f.state)));
        json_array_append(all, list[i]);
    }
    free(list);
    json_decref(edges);
    return all;
}

/* Edges tell only of blobs named by sha256 (common/records/holding_tiles.h). */
static int64_t not_told(const struct image_parts *p) {
    int64_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->blobs[i].alg != DIGEST_SHA256;
    return n;
}

static json_t *image_json(const char *image, const struct digest *d, const struct image_parts *p) {
    char text[DIGEST_STR_MAX];
    int64_t size = 0;
    json_t *platforms = json_array();
    for (size_t i = 0; i < p->n; i++)
        size += p->sizes[i] > 0 ? p->sizes[i] : 0;
    for (size_t i = 0; i < p->n_platforms; i++)
        if (p->platforms[i].name[0]) json_array_append_new(platforms, json_string(p->platforms[i].name));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "image", image, "digest", digest_str(d, text), "blobs",
                     (json_int_t)p->n, "blobs_not_told", (json_int_t)not_told(p), "size", (json_int_t)size, "platforms",
                     platforms);
}

static void not_known(int code, struct error *err) {
    if (code == ERR_BUSY) {
        error_set(err, code, "central still reads from its disk what edges hold");
        error_hint(err, "ask again in a few seconds");
    } else {
        error_set(err, ERR_INTERNAL, "what edges hold cannot be read: %s", error_name(code));
        error_hint(err, "central's log says more at event=reports_not_kept");
    }
}

static void run_where(struct job *j) {
    const struct where *w = j->arg;
    struct error err = {0};
    struct digest d;
    struct image_parts parts;
    int r = find_digest(w->node, j->a, &d, &err);
    if (r < 0) {
        if (!err.code) err.code = r;
        job_error(j, &err);
        return;
    }
    image_parts_find(catalogue_of(w->node), &d, &parts);
    struct answer a = {.where = w, .parts = &parts, .edges = json_array()};
    r = holdings_each(w->holdings, parts.blobs, parts.n, on_holder, &a);
    if (r < 0) {
        json_decref(a.edges);
        not_known(r, &err);
        job_error(j, &err);
    } else {
        json_t *doc = image_json(j->a, &d, &parts);
        json_object_set_new(doc, "edges", sorted(w->roster, a.edges));
        job_json(j, 200, doc);
    }
    image_parts_fini(&parts);
}

void where_handle(struct where *w, struct http_req *req) {
    char image[QUERY_PARAM_MAX];
    if (query_param(http_req_target(req), "image", image) != 1 || !image[0])
        api_reply_error(req, 400, "the image is missing or malformed", "give ?image=NAME[:TAG] or ?image=DIGEST");
    else
        job_start(&(struct job_order){.pool = w->node->pool, .run = run_where, .arg = w, .a = image}, req);
}
