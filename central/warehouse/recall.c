/* Walks the hosted tags, each from its manifest down. Thread: control. */
#include "central/warehouse/recall.h"

#include "common/core/log.h"
#include "common/core/map.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4 /* as load takes */
#define TAGS_BATCH 1000

struct recall {
    struct catalog *catalog;
    struct store *store;
    const struct name_rules *rules;
    struct recall_report *report;
    /* of the tag at hand */
    const char *repo;
    uint32_t scope;
    struct map *seen;
    int64_t missing;
};

static bool is_hosted(const struct recall *r, const char *name) {
    struct repo_name repo;
    char same[REPO_STR_MAX];
    if (resolve_repo(r->rules, NULL, name, strlen(name), &repo, NULL) < 0 || repo.upstream[0]) return false;
    return strcmp(repo_name_str(&repo, same), name) == 0;
}

/* What the old index still told is at least as new: the catalogue is never synced on its own. */
static void take_tag(const char *repo, const char *tag, const struct catalog_tag *t, void *arg) {
    struct recall *r = arg;
    struct tag_record rec;
    if (!is_hosted(r, repo) || store_tag_get(r->store, repo, tag, &rec)) return;
    rec = (struct tag_record){.digest = t->digest, .checked_at = t->checked_at, .size = t->size, .deleted = t->deleted};
    snprintf(rec.media_type, sizeof(rec.media_type), "%s", t->media_type);
    store_tag_set(r->store, repo, tag, &rec);
}

static bool adopt(struct recall *r, const struct digest *d, const struct manifest *m, unsigned flags) {
    size_t n = m ? m->n_children : 0;
    struct digest *children = calloc(n + 1, sizeof(*children));
    if (!children) abort();
    for (size_t i = 0; i < n; i++)
        children[i] = m->children[i].digest;
    struct commit_info info = {.media_type = m ? m->media_type : NULL,
                               .flags = BLOB_HOSTED | flags,
                               .scopes = &r->scope,
                               .n_scopes = 1,
                               .repository = flags & BLOB_MANIFEST ? r->repo : NULL,
                               .children = children,
                               .n_children = n};
    int code = store_adopt(r->store, d, &info);
    free(children);
    if (code < 0 && code != ERR_NOT_FOUND) r->report->code = code;
    return code == 0;
}

/* The catalogue may not know a manifest's children, its bytes always do. It is read once the store holds it. */
static bool read_manifest(struct recall *r, const struct digest *d, struct manifest *m) {
    struct blob_info info;
    char *data;
    size_t len;
    if (!adopt(r, d, NULL, BLOB_MANIFEST)) return false;
    if (store_read_blob(r->store, d, MANIFEST_MAX_BYTES, &data, &len, &info) < 0) return false;
    int code = manifest_parse(m, data, len, NULL);
    free(data);
    return code == 0 && adopt(r, d, m, BLOB_MANIFEST);
}

static void take_manifest(struct recall *r, const struct digest *d, unsigned depth) {
    struct manifest m = {0};
    bool good = depth <= DEPTH_MAX && read_manifest(r, d, &m);
    if (good)
        r->report->blobs++;
    else
        r->missing++;
    for (size_t i = 0; good && i < m.n_children; i++) {
        const struct manifest_child *c = &m.children[i];
        if (c->foreign || c->kind == CHILD_SUBJECT || map_get(r->seen, &c->digest, sizeof(c->digest))) continue;
        map_set(r->seen, &c->digest, sizeof(c->digest), r);
        if (c->kind == CHILD_MANIFEST)
            take_manifest(r, &c->digest, depth + 1);
        else if (adopt(r, &c->digest, NULL, 0))
            r->report->blobs++;
        else
            r->missing++;
    }
    manifest_fini(&m);
}

static void walk_tag(struct recall *r, const char *tag) {
    struct tag_record rec;
    if (!store_tag_get(r->store, r->repo, tag, &rec)) return;
    r->missing = 0;
    r->seen = map_new(NULL);
    take_manifest(r, &rec.digest, 0);
    map_free(r->seen);
    r->report->tags++;
    if (r->missing == 0) return;
    r->report->incomplete++;
    log_warn("hosted_incomplete", KV_S("repository", r->repo), KV_S("tag", tag), KV_I("missing", r->missing),
             KV_S("then", "load it again: entrepot-central load"));
}

static bool walk_repo(const char *name, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)tags, (void)manifests, (void)bytes;
    struct recall *r = arg;
    char last[TAG_MAX + 1] = "";
    if (!is_hosted(r, name) || store_scope(r->store, name, &r->scope) < 0) return true;
    r->repo = name;
    for (size_t n = TAGS_BATCH; n == TAGS_BATCH;) {
        char **some = NULL;
        n = store_tags(r->store, name, last, TAGS_BATCH, &some);
        for (size_t i = 0; i < n; i++) {
            walk_tag(r, some[i]);
            if (i + 1 == n) snprintf(last, sizeof(last), "%s", some[i]);
            free(some[i]);
        }
        free(some);
    }
    return true;
}

void hosted_recall(struct catalog *c, struct store *s, const struct name_rules *rules, struct recall_report *out) {
    *out = (struct recall_report){0};
    struct recall r = {.catalog = c, .store = s, .rules = rules, .report = out};
    struct error err = {0};
    int unread = catalog_each_tag(c, take_tag, &r);
    if (unread < 0) log_warn("hosted_tags_unread", KV_S("why", error_name(unread)));
    int code = store_each_repo(s, walk_repo, &r, &err);
    if (code < 0) out->code = code;
    if (out->code < 0)
        log_error("hosted_recall_failed", KV_S("why", code < 0 ? err.msg : error_name(out->code)),
                  KV_S("then", "nothing is evicted until the next start, which tries again"));
    log_warn("hosted_recalled", KV_I("tags", out->tags), KV_I("blobs", out->blobs),
             KV_I("incomplete", out->incomplete));
    out->blind = unread < 0 || (out->tags == 0 && catalog_sequence(c) == 0);
    if (out->blind)
        log_warn(
            "hosted_unknown", KV_S("why", "index and catalogue were both lost or damaged"),
            KV_S("then", "images that were hosted may be lost, and are to be loaded again: entrepot-central load"));
}
